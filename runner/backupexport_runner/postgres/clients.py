"""The installed clients of PostgreSQL: which there are, which fits a server, which are too old.

`python -m backupexport_runner.postgres.clients`, run where an image is built, fails where one is
older than the fixes of CVE-2025-8714 and CVE-2025-8715, without which a dump can make whoever
restores it run commands of a shell (https://www.postgresql.org/support/security/CVE-2025-8714/).
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.failure import Failure

_VERSION_SECONDS = 20
# The first minor version with the fixes; older majors have none, newer ones began with them.
FIXED_MINORS = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}


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


def dump_version(program: Path) -> str:
    """Returns for example "17.6", from `pg_dump (PostgreSQL) 17.6 (Debian 17.6-1)`."""
    try:
        said = subprocess.run(
            [program, "--version"],
            env={"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_VERSION_SECONDS,
        ).stdout.decode(errors="replace")
        return said.split()[2]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise Failure(
            ExitCode.INTERNAL,
            f"The runner's {program} doesn't run ({type(error).__name__}): use another "
            "runner.image.",
        ) from error


def is_safe(version: str) -> bool:
    """Returns whether a pg_dump of this version ("17.6") has the fixes named above."""
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2] or 0)
    if major in FIXED_MINORS:
        return minor >= FIXED_MINORS[major]
    return major > max(FIXED_MINORS)


def check_clients(root: Path) -> None:
    """Raises Failure where a client below `root` is not safe, or where there is none."""
    clients = installed_clients(root)
    if not clients:
        raise Failure(ExitCode.INTERNAL, f"There is no pg_dump below {root}: install one.")
    for client in clients:
        version = dump_version(client.program)
        if not is_safe(version):
            fixed = FIXED_MINORS.get(client.major)
            wanted = f"{client.major}.{fixed} or newer" if fixed else "a newer major version"
            raise Failure(
                ExitCode.INTERNAL,
                f"pg_dump {version} is older than the fix of CVE-2025-8714: install {wanted}.",
            )


if __name__ == "__main__":
    try:
        check_clients(Configuration().clients)
    except Failure as problem:
        sys.exit(problem.message)
