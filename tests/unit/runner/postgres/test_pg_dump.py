"""The pg_dump for a server."""

from pathlib import Path

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres.pg_dump import Client, choose_client, installed_clients
from backupexport_runner.task.failure import Failure


@pytest.mark.parametrize(
    ("installed", "server", "chosen"),
    [
        ([15, 16, 17], 16, 16),
        ([17, 15], 16, 17),
        ([18, 17], 9, 17),
        ([9, 15], 15, 15),
    ],
)
def test_the_client_for_a_server(installed: list[int], server: int, chosen: int) -> None:
    clients = [Client(major, Path(str(major))) for major in installed]
    assert choose_client(clients, server, "x").major == chosen


def test_no_client_for_a_server() -> None:
    with pytest.raises(Failure, match=r"PostgreSQL 18\.1, .* is 17") as failure:
        choose_client([Client(17, Path("a")), Client(15, Path("b"))], 18, "18.1")
    assert failure.value.exit_code == ExitCode.SERVER_VERSION_UNSUPPORTED
    with pytest.raises(Failure, match="holds no pg_dump"):
        choose_client([], 18, "18.1")


def test_installed_clients(tmp_path: Path) -> None:
    for name in ("17", "9.6", "common", "15"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "pg_dump").touch()
    (tmp_path / "18" / "bin").mkdir(parents=True)
    assert sorted(client.major for client in installed_clients(tmp_path)) == [15, 17]
