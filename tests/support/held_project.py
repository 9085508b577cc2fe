"""A project whose exports run for as long as a test wants them to."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from playground.postgres import Postgres
from playground.targets import make_target
from table_locks import locked, wait_until_blocked

_TABLE = "held"


@dataclass(frozen=True)
class HeldProject:
    """One table of `database` can be locked."""

    name: str
    server: Postgres
    database: str

    def locked(self) -> AbstractContextManager[None]:
        """Keep its exports from their end."""
        return locked(self.server, self.database, _TABLE)

    def wait_until_blocked(self, job_id: str) -> None:
        """Wait until the dump of a job can't go on."""
        wait_until_blocked(self.server, job_id)


def held_project(server: Postgres, namespace: str, connection: dict[str, str]) -> HeldProject:
    """Makes the project `held` in `namespace`, with a database of its own on `server`."""
    project = HeldProject("held", server, f"held in {namespace}")
    server.psql(f'CREATE DATABASE "{project.database}"')
    server.psql(f"CREATE TABLE {_TABLE} AS SELECT 1 AS id", project.database)
    make_target(namespace, project.name, {**connection, "database": project.database})
    return project
