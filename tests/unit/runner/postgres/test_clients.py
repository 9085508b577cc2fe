"""The pg_dump for a server, and those that no image may hold."""

from pathlib import Path

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres.clients import (
    Client,
    check_clients,
    choose_client,
    installed_clients,
    is_safe,
)
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


@pytest.mark.parametrize(
    "version",
    [
        "13.22",
        "13.23",
        "14.19",
        "15.14",
        "15.18",
        "16.10",
        "17.6",
        "17.10",
        "18.0",
        "18beta3",
        "19devel",
    ],
)
def test_a_fixed_version(version: str) -> None:
    assert is_safe(version)


@pytest.mark.parametrize(
    "version",
    [
        "9.6.24",
        "12.22",
        "13.21",
        "14.18",
        "15.13",
        "16.9",
        "17.5",
        "17.0",
        "17",
        "17beta1",
        "",
        "x",
    ],
)
def test_a_version_before_the_fixes(version: str) -> None:
    assert not is_safe(version)


def _install(root: Path, major: int, version: str) -> None:
    program = root / str(major) / "bin" / "pg_dump"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (Debian {version}-1)'\n")
    program.chmod(0o755)


def test_an_image_with_an_old_client_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no pg_dump"):
        check_clients(tmp_path)
    _install(tmp_path, 17, "17.6")
    check_clients(tmp_path)
    _install(tmp_path, 15, "15.13")
    with pytest.raises(Failure, match=r"pg_dump 15\.13 is older .*: install 15\.14 or newer\.$"):
        check_clients(tmp_path)


def test_the_runners_image_is_checked() -> None:
    dockerfile = (Path(__file__).parents[4] / "Dockerfile").read_text(encoding="utf-8")
    runner = dockerfile[dockerfile.index(" AS runner\n") :]
    assert '\nRUN ["python3", "-m", "backupexport_runner.postgres.clients"]\n' in runner
