"""Which of the installed pg_dump programs fits a server."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure


@dataclass(frozen=True, slots=True)
class Client:
    """A pg_dump program and its major version."""

    major: int
    program: Path


def installed_clients(root: Path) -> list[Client]:
    """Returns the programs at `<root>/<major>/bin/pg_dump`, where Debian and PGDG install them."""
    return [
        Client(int(program.parts[-3]), program)
        for program in root.glob("*/bin/pg_dump")
        # Before 10 a major version had two numbers (9.6); nothing that old is wanted here.
        if program.parts[-3].isdecimal()
    ]


def choose_client(clients: Iterable[Client], server_major: int, server_version: str) -> Client:
    """Returns the client of the server's own major version, else the lowest newer one.

    pg_dump refuses a server newer than itself, and what a newer pg_dump writes may not load
    into an older server (https://www.postgresql.org/docs/current/app-pgdump.html, Notes).
    Raises Failure(SERVER_VERSION_UNSUPPORTED) if every client is older.
    """
    by_age = sorted(clients, key=lambda client: client.major)
    if not by_age:
        raise Failure(
            ExitCode.INTERNAL, "The runner's image holds no pg_dump: use another runner.image."
        )
    for client in by_age:
        if client.major >= server_major:
            return client
    raise Failure(
        ExitCode.SERVER_VERSION_UNSUPPORTED,
        f"The server is PostgreSQL {server_version}, the newest pg_dump of the runner is "
        f"{by_age[-1].major}: use a runner.image that holds pg_dump {server_major}.",
    )
