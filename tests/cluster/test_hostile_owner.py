"""A database full of traps: none of them runs with the rights of who exports it."""

import secrets
from collections.abc import Iterator

import hostile_owner as hostile
import pytest
from backupexport_runner.postgres import statements
from failing_exports import begin
from hostile_owner import QUERIES
from installation import Installation
from playground.postgres import Postgres
from playground.tools import kubectl, wait_for

pytestmark = pytest.mark.cluster

DATABASE = "hostile"


class Hostile:
    """The server with the planted database; `reader` is what a target's Secret says of it."""

    def __init__(self, namespace: str) -> None:
        self._server = Postgres(namespace, "hostile")
        self._server.start()
        password = secrets.token_urlsafe(24)
        named = ("-v", f"database={DATABASE}")
        self._server.psql(hostile.ROLES, "postgres", *named, "-v", f"reader_password={password}")
        self._server.psql(hostile.planting(), DATABASE, *named, "-U", hostile.OWNER)
        self.reader = {
            "host": self._server.host,
            "username": hostile.READER,
            "password": password,
            "database": DATABASE,
            "sslmode": "disable",
        }

    def ask(self, sql: str) -> None:
        """Sends `sql` as the reader, in one message as the runner does."""
        self._server.psql("", DATABASE, "-U", hostile.READER, "-c", sql)

    def sprung(self) -> list[str]:
        """The log's lines about traps that somebody ran into."""
        mark = f"looked at {secrets.token_hex(6)}"
        self._server.psql(f"DO $$ BEGIN RAISE LOG '{mark}'; END $$")

        def look() -> str | None:
            log = kubectl("-n", self._server.namespace, "logs", self._server.pod)
            return log if mark in log else None

        # A node brings lines late: those before this one are there with it.
        log = wait_for(look, "the log's newest line", 120)
        return [line for line in log.splitlines() if hostile.SPRUNG in line]

    def close(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def database(installation: Installation) -> Iterator[Hostile]:
    planted = Hostile(installation.namespace)
    yield planted
    planted.close()


def test_the_traps_work(database: Hostile) -> None:
    for kind, sql in hostile.CARELESS.items():
        before = len(database.sprung())
        database.ask(sql)
        assert len(database.sprung()) > before, kind


@pytest.mark.parametrize("query", QUERIES)
def test_no_statement_of_ours_springs_one(database: Hostile, query: str) -> None:
    before = database.sprung()
    database.ask(statements.message(QUERIES[query]))
    # Nor without the empty search_path, so that neither precaution hides a hole in the other.
    database.ask(QUERIES[query])
    assert database.sprung() == before


@pytest.mark.parametrize("dump_format", ["sql", "tar"])
def test_a_whole_export_springs_none(
    installation: Installation, database: Hostile, dump_format: str
) -> None:
    before = database.sprung()
    status = begin(
        installation.namespace, f"hostile-{dump_format}", database.reader, format=dump_format
    ).ended()
    assert status["phase"] == "Succeeded", status
    assert database.sprung() == before
