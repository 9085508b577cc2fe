"""A database that is large in every way, its exports, and their restores by the printed commands.

It has many tables, a table that takes next to nothing on the server's disk and all of its size in
a dump, many large objects, and odd names wherever there are names.
"""

import functools
import json
import secrets
import shlex
from dataclasses import dataclass
from typing import Any

from backupexport_contract import timestamps
from backupexport_contract.restore_commands import file_name
from failing_exports import Attempted, begin
from playground.postgres import Postgres
from playground.restore import ExportsVolume
from playground.tools import kubectl

FORMATS = ("tar", "sql", "custom")

_ODD = (
    'with "double" quotes', "it's", "two\nlines", " spaces ", "emoji 😀🏳️‍🌈", "--comment", "-t",
    "back\\slash \\. \\n", "$$", "$1", "%s %I", "tab\tand ;", "UPPER", "a.b", "{x,*}", "ümlaut",
    "/* not over",
)  # fmt: skip
_OWNER = 'the "owner" -- it\'s\n😀 $$'
# A Secret's values may have no control characters.
_USER = 'a \\ "user" -- it\'s 😀'
_DATABASE = 'the "database" -- it\'s 😀 \\'
_SECONDS = 3600
# An interpreter with its libraries has 40 MiB, and each of zstd's four threads at most takes 16 MB:
# nothing of it grows with the database.
_RUNNER_MOST = 128 * 2**20
# That of an interpreter again, from which pg_dump starts, and of a row with 1 MiB; then what it
# keeps of each object's catalog, for which 3.5 KiB were measured.
_PG_DUMP_MOST, _EACH = 64 * 2**20, 5 * 2**10

_ROLES = """
CREATE ROLE :"owner";
CREATE ROLE :"user" LOGIN PASSWORD :'password';
GRANT :"owner" TO :"user";
"""

# Every tenth table has a primary key and text, and so what lies in TOAST.
_TABLES = r"""
SET ROLE :"owner";
CREATE TEMP TABLE odd AS SELECT name, n FROM unnest({odd}) WITH ORDINALITY AS o(name, n);
SELECT format('CREATE SCHEMA %I', name || ' schema'),
    format('COMMENT ON SCHEMA %I IS %L', name || ' schema', name),
    format('CREATE SEQUENCE %I.%I START %s', name || ' schema', name, n),
    format('CREATE VIEW %I.%I AS SELECT %L AS %I', name || ' schema', name || ' view', name, name)
FROM odd ORDER BY n \gexec
SELECT made.statement, made.key FROM generate_series(1, :tables) AS i
JOIN odd AS o ON o.n = 1 + i % {count} JOIN odd AS s ON s.n = 1 + i / {count} % {count},
LATERAL (SELECT
    format('CREATE TABLE %I.%I AS SELECT g AS %I%s FROM generate_series(1, %s) AS g',
        s.name || ' schema', o.name || ' ' || i, o.name,
        CASE WHEN i % 10 = 0 THEN format(', %L || g AS words', o.name) END, i % 4) AS statement,
    CASE WHEN i % 10 = 0 THEN format('ALTER TABLE %I.%I ADD PRIMARY KEY (%I)',
        s.name || ' schema', o.name || ' ' || i, o.name) END AS key) AS made
ORDER BY i \gexec
"""

_LARGE_TABLE = """
SET ROLE :"owner";
CREATE TABLE public."large -- 😀" (id int PRIMARY KEY, filling text);
INSERT INTO public."large -- 😀"
SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, :mebibytes) AS i;
"""

_LARGE_OBJECTS = """
SET ROLE :"owner";
SELECT count(lo_from_bytea(100000 + i, convert_to(repeat(md5(i::text), i % 100), 'UTF8')))
FROM generate_series(1, :large_objects) AS i;
"""

# A line for all that is there, with a hash that is the same in whatever order the rows are.
_SUMMARY = r"""
SET search_path = '';
SELECT format(CASE WHEN relkind = 'S' THEN 'SELECT %L, last_value, is_called FROM %s'
    ELSE 'SELECT %L, count(*), sum(hashtextextended(t::text, 0)) FROM %s AS t' END,
    oid::regclass, oid::regclass)
FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'S', 'v')
ORDER BY oid::regclass::text COLLATE "C" \gexec
SELECT c.oid::regclass, c.relowner::regrole, a.attname, a.atttypid::regtype, a.attnotnull
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'S', 'v', 'i') AND a.attnum > 0
    AND c.relnamespace <> 'pg_toast'::regnamespace
ORDER BY c.oid::regclass::text COLLATE "C", a.attnum;
SELECT oid::regnamespace, nspowner::regrole, obj_description(oid) FROM pg_namespace
WHERE oid >= 16384 AND nspname !~ '^pg_' ORDER BY oid::regnamespace::text COLLATE "C";
SELECT oid, lomowner::regrole, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid;
"""


@dataclass(frozen=True)
class Size:
    """How many tables, how many MiB in one more, and how many large objects."""

    tables: int
    mebibytes: int
    large_objects: int


@dataclass(frozen=True)
class Figures:
    """What an export took; `runner` and `pg_dump` are the most memory they had, in bytes."""

    status: dict[str, Any]
    seconds: float
    runner: int
    pg_dump: int

    @property
    def remarks(self) -> dict[str, str]:
        """The messages of its warnings and restore hints, by their codes."""
        told = [*self.status.get("warnings", []), *self.status["restoreHints"]]
        return {each["code"]: each["message"] for each in told}


class LargeDatabase:
    """It, on a server of which `volume` is a pod beside the exports' files."""

    def __init__(self, server: Postgres, volume: ExportsVolume, size: Size) -> None:
        self._server = server
        self._volume = volume
        self.size = size
        self._password = secrets.token_urlsafe(24)

    @property
    def pg_dump_most(self) -> int:
        """The most memory for pg_dump, which holds the catalogs and a row, in bytes."""
        return _PG_DUMP_MOST + _EACH * (self.size.tables + self.size.large_objects)

    def make(self) -> None:
        """Make its roles and all that is in it."""
        odd = f"ARRAY[{', '.join(map(_literal, _ODD))}]"
        self._psql(_ROLES, "postgres")
        self._make_empty(_DATABASE)
        self._psql(_LARGE_OBJECTS, _DATABASE)
        self._psql(_LARGE_TABLE, _DATABASE)
        self._psql(_TABLES.replace("{odd}", odd).replace("{count}", str(len(_ODD))), _DATABASE)

    def begin(self, namespace: str, dump_format: str, **target: Any) -> Attempted:
        """An export of a project of its own, as a role that is no superuser."""
        connection = {
            "host": self._server.host,
            "username": _USER,
            "password": self._password,
            "database": _DATABASE,
            "sslmode": "disable",
        }
        return begin(namespace, f"large-{dump_format}", connection, target, format=dump_format)

    @functools.cached_property
    def content(self) -> list[str]:
        """What is in it; compare it by `difference`, because it is long."""
        return self.summary(_DATABASE)

    def summary(self, database: str) -> list[str]:
        """The same of a restored one."""
        return self._psql(_SUMMARY, database).splitlines()

    def restore(self, path: str) -> str:
        """Type the command of the file's manifest for a new database, whose name is returned."""
        database = f"{path} restored -- it's\n😀"[-60:]
        self._make_empty(database)
        manifest = json.loads(self._volume.text(f"{path}.json"))
        command = manifest["restore_command"].replace("DATABASE", shlex.quote(database))
        self._volume.run(
            "bash", "-c",
            f"export PGUSER={shlex.quote(_USER)} PGPASSWORD={self._password}\n"
            f"cp {shlex.quote(path)} {shlex.quote(f'/scratch/{file_name(path)}')}\n"
            f"cd /scratch; {command}; code=$?; rm -rf /scratch/*; exit $code",
            timeout=_SECONDS,
        )  # fmt: skip
        return database

    def drop(self, database: str = _DATABASE) -> None:
        """Remove a database."""
        self._psql('DROP DATABASE IF EXISTS :"database" WITH (FORCE)', "postgres", database)

    def _make_empty(self, database: str) -> None:
        self.drop(database)
        owned = 'CREATE DATABASE :"database" OWNER :"owner" TEMPLATE template0'
        self._psql(owned, "postgres", database)

    def _psql(self, sql: str, database: str, named: str = _DATABASE) -> str:
        values = {
            "owner": _OWNER, "user": _USER, "password": self._password, "database": named,
            "tables": self.size.tables, "mebibytes": self.size.mebibytes,
            "large_objects": self.size.large_objects,
        }  # fmt: skip
        options = [option for name, value in values.items() for option in ("-v", f"{name}={value}")]
        return self._server.psql(sql, database, *options, timeout=_SECONDS)


def assert_goes_back(database: LargeDatabase, attempted: Attempted) -> Figures:
    """An export succeeds without much memory, and its restore by the printed command is equal."""
    found = figures(attempted)
    assert found.runner < _RUNNER_MOST
    assert found.pg_dump < database.pg_dump_most
    # Whatever the catalogs hold, they were read in time.
    assert "not_looked" not in found.remarks
    restored = database.restore(found.status["artifact"]["path"])
    assert len(database.content) > database.size.tables + database.size.large_objects
    assert difference(database.content, database.summary(restored)) == []
    database.drop(restored)
    return found


def figures(attempted: Attempted) -> Figures:
    """What its pod told of an export that succeeded."""
    status = attempted.ended(_SECONDS)
    assert status["phase"] == "Succeeded", status
    logs = (
        kubectl("-n", attempted.namespace, "logs", pod["metadata"]["name"], "--tail=-1")
        for pod in attempted.pods()
    )
    lines = [json.loads(line) for log in logs for line in log.splitlines()]
    # A busy server may have let another attempt fail.
    (finished,) = (
        line for line in lines if line.get("event") == "dump_finished" and line["exit_status"] == 0
    )
    began, ended = (timestamps.from_text(status[end]) for end in ("startTime", "completionTime"))
    return Figures(
        status,
        (ended - began).total_seconds(),
        finished["runner_peak_bytes"],
        finished["pg_dump_peak_bytes"],
    )


def difference(before: list[str], after: list[str]) -> list[str]:
    """The first lines of which only one has each."""
    return sorted(set(before) ^ set(after))[:6] or ([] if before == after else ["the order"])


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
