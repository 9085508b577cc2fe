"""The demo database on a server: loaded once, and again where its files have changed."""

import hashlib
import secrets
import sys
from pathlib import Path

from playground.postgres import Postgres
from playground.tools import ROOT

FOLDER = ROOT / "demo" / "database"
EXPORTER = "exporter"
# Rows of its two largest tables; the whole is 900 MB.
ORDERS, EVENTS = 600_000, 680_000


def files() -> list[Path]:
    """The SQL files in the order in which they are run."""
    return sorted(FOLDER.glob("*.sql"))


def load(server: Postgres, database: str = "demo", share: float = 1) -> bool:
    """Make `database` what the files say; False where it already was.

    With a `share` of its largest tables' rows it is smaller, and has everything else.
    """
    sizes = [f"orders={int(ORDERS * share)}", f"events={int(EVENTS * share)}"]
    digest = hashlib.sha256(repr(sizes).encode())
    for file in files():
        digest.update(file.read_bytes())
    mark = digest.hexdigest()
    if _mark(server, database) == mark:
        return False
    server.psql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
    server.psql(f"CREATE DATABASE \"{database}\" TEMPLATE template0 ENCODING 'UTF8'")
    # Some password, because the role must have one; `exporter_connection` sets a known one.
    password = f"exporter_password={secrets.token_urlsafe(24)}"
    for file in files():
        server.psql_file(file, database, *(o for v in (password, *sizes) for o in ("-v", v)))
    server.psql(f"COMMENT ON DATABASE \"{database}\" IS '{mark}'")
    return True


def exporter_connection(server: Postgres, database: str = "demo") -> dict[str, str]:
    """What a Service Binding Secret for the export's role holds; its password is made anew."""
    password = secrets.token_urlsafe(24)
    server.psql(f"ALTER ROLE {EXPORTER} PASSWORD '{password}'")
    return {
        "type": "postgresql",
        "host": server.host,
        "port": "5432",
        "username": EXPORTER,
        "password": password,
        "database": database,
        # The server has no certificate.
        "sslmode": "disable",
    }


def comparison(server: Postgres, database: str, restored: str) -> list[str]:
    """The command that compares two databases of the server; it exits with 0 where equal."""
    prefix = " ".join(server.exec_prefix())
    return [
        sys.executable, str(FOLDER / "compare.py"),
        "--source-prefix", prefix, "--source-db", database,
        "--restored-prefix", prefix, "--restored-db", restored,
    ]  # fmt: skip


def _mark(server: Postgres, database: str) -> str:
    return server.psql(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
        f"WHERE datname = '{database}'"
    )
