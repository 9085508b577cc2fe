"""Each major of the server, each format: the file goes back by the printed command, all of it."""

import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from failing_exports import Attempted, begin
from installation import Installation
from majors import MAJORS, Majors, named_clients, port
from majors_database import (
    CONTENT,
    DATABASE,
    OWNER,
    READER,
    RESTORER,
    ROLES,
    STRANGER,
    SUMMARY,
    TABLES,
)

pytestmark = pytest.mark.cluster

FORMATS: dict[str, dict[str, Any]] = {
    "sql": {"compression": "gzip"},
    "tar": {"compress": False},
    "custom": {"compression": "zstd"},
}
# The client of the image that each server gets.
CLIENTS = {13: 15, 14: 15, 15: 15, 16: 17, 17: 17, 18: 18}
# One of each format, on servers of which two are older than their clients.
FRESH = {13: "sql", 16: "tar", 18: "custom"}


@dataclass(frozen=True)
class Matrix:
    """The servers, the exports of all of them, and a password that all roles have."""

    installation: Installation
    servers: Majors
    password: str
    exports: dict[tuple[int, str], Attempted]
    plain: dict[int, Attempted]

    def connection(self, major: int) -> dict[str, str]:
        """How an export connects."""
        return {
            "host": self.servers.host,
            "port": str(port(major)),
            "username": READER,
            "password": self.password,
            "database": DATABASE,
            "sslmode": "disable",
        }

    def begin(
        self, major: int, name: str, target: dict[str, Any] | None = None, **spec: Any
    ) -> Attempted:
        """An export of a project of its own."""
        project = f"major-{major}-{name}"
        return begin(self.installation.namespace, project, self.connection(major), target, **spec)


@pytest.fixture(scope="module")
def matrix(installation: Installation) -> Iterator[Matrix]:
    claim = f"{installation.release.name}-exports"
    servers = Majors(installation.namespace, claim, "majors")
    servers.start()
    password = secrets.token_urlsafe(24)
    found = Matrix(installation, servers, password, {}, {})

    def fill(major: int) -> None:
        servers.psql(major, ROLES, "postgres", "-v", f"password={password}")
        servers.psql(major, CONTENT, DATABASE)
        for dump_format, compression in FORMATS.items():
            attempted = found.begin(major, dump_format, format=dump_format, **compression)
            found.exports[major, dump_format] = attempted

    with ThreadPoolExecutor(max_workers=3) as beside:
        list(beside.map(fill, MAJORS))
    for major, dump_format in FRESH.items():
        found.plain[major] = found.begin(
            major, "plain", format=dump_format, owner=False, privileges=False,
            **FORMATS[dump_format],
        )  # fmt: skip
    yield found
    servers.stop()


def restore(
    servers: Majors, major: int, artifact: dict[str, Any], login: tuple[str, str], owner: str
) -> str:
    """Type the printed command for a new database, whose name is returned."""
    database = f"restored_{secrets.token_hex(4)}"
    servers.psql(major, f"CREATE DATABASE {database} OWNER {owner} TEMPLATE template0")
    user, password = login
    servers.type(
        "set -e; path=$1; database=$2; export PGPORT=$3 PGUSER=$4 PGPASSWORD=$5\n"
        'rm -rf /scratch/*; cp "$path" /scratch/\n'
        "command=$(python3 -c 'import json, sys\n"
        "print(json.load(open(sys.argv[1]))[\"restore_command\"])' \"$path.json\")\n"
        'cd /scratch; bash -c "${command//DATABASE/$database}"',
        named_clients(artifact),
        artifact["path"], database, str(port(major)), user, password,
    )  # fmt: skip
    return database


def schema(servers: Majors, major: int, database: str) -> list[str]:
    """The schema as its major's pg_dump writes it, a line each."""
    text = servers.type(
        'pg_dump --schema-only --port "$1" --dbname "$2"',
        CLIENTS[major],
        str(port(major)),
        database,
    )
    return [line for line in text.splitlines() if not re.match(r"\\(un)?restrict ", line)]


@pytest.mark.parametrize("dump_format", FORMATS)
@pytest.mark.parametrize("major", MAJORS)
def test_an_export_goes_back_into_its_own_major(
    matrix: Matrix, major: int, dump_format: str
) -> None:
    status = matrix.exports[major, dump_format].ended()
    assert status["phase"] == "Succeeded", status
    artifact = status["artifact"]
    assert artifact["serverVersion"].startswith(f"{major}.")
    assert artifact["dumpVersion"].startswith(f"{CLIENTS[major]}.")
    login = (RESTORER, matrix.password)
    servers = matrix.servers
    database = restore(servers, major, artifact, login, OWNER)
    assert servers.psql(major, SUMMARY, database) == servers.psql(major, SUMMARY, DATABASE)
    assert schema(servers, major, database) == schema(servers, major, DATABASE)


@pytest.fixture(scope="module")
def fresh(matrix: Matrix) -> Iterator[Majors]:
    """Servers that know no role but their own and a stranger, who isn't a member of anything."""
    installation = matrix.installation
    claim = f"{installation.release.name}-exports"
    servers = Majors(installation.namespace, claim, "majors-fresh", tuple(FRESH))
    servers.start()
    for major in FRESH:
        role = f"CREATE ROLE {STRANGER} LOGIN PASSWORD :'password'"
        servers.psql(major, role, "postgres", "-v", f"password={matrix.password}")
    yield servers
    servers.stop()


@pytest.mark.parametrize("major", FRESH)
def test_without_owners_and_grants_a_server_without_roles_takes_it(
    matrix: Matrix, fresh: Majors, major: int
) -> None:
    status = matrix.plain[major].ended()
    assert status["phase"] == "Succeeded", status
    login = (STRANGER, matrix.password)
    database = restore(fresh, major, status["artifact"], login, STRANGER)
    before = matrix.servers.psql(major, SUMMARY, DATABASE)
    # Who owns a large object is all that may differ.
    expected = before.replace(f"|{OWNER}|", f"|{STRANGER}|")
    assert fresh.psql(major, SUMMARY, database) == expected


@pytest.mark.parametrize("major", [13, 15, 17, 18])
def test_a_table_is_taken_out_of_an_archive(matrix: Matrix, major: int) -> None:
    servers = matrix.servers
    artifact = matrix.exports[major, "custom"].ended()["artifact"]
    clients = named_clients(artifact)
    listed = servers.type('pg_restore -l "$1"', clients, artifact["path"])
    assert re.search(rf"^\d+; \d+ \d+ TABLE DATA shop secrets {OWNER}$", listed, re.MULTILINE)
    database = f"one_table_{secrets.token_hex(4)}"
    servers.psql(major, f"CREATE DATABASE {database} OWNER {RESTORER} TEMPLATE template0")
    servers.psql(major, f"CREATE SCHEMA shop; GRANT ALL ON SCHEMA shop TO {OWNER}", database)
    servers.type(
        'PGUSER=postgres pg_restore -e -n shop -t secrets -p "$1" -d "$2" "$3"',
        clients, str(port(major)), database, artifact["path"],
    )  # fmt: skip
    assert servers.psql(major, TABLES, database) == "shop.secrets|3"


ALL_TABLES = {
    'shop."$(id)"', 'shop."--file=/exports/x"', "shop.base", "shop.derived", "shop.orders_old",
    "shop.orders_rest", "shop.parts", "shop.secrets", "shop.unlogged", "public.plain",
}  # fmt: skip
HOSTILE = (
    "--file=/exports/x", "$(touch /exports/x)", "'; DROP TABLE shop.secrets; --", "a'b", "-t",
)  # fmt: skip


def ordinary_tables(matrix: Matrix, major: int, attempted: Attempted) -> dict[str, int]:
    """The tables of an export, restored, and their rows; those with an odd name are one `odd`."""
    status = attempted.ended()
    assert status["phase"] == "Succeeded", status
    servers = matrix.servers
    database = restore(servers, major, status["artifact"], (RESTORER, matrix.password), OWNER)
    found: dict[str, int] = {}
    for line in servers.psql(major, TABLES, database).replace("a\ntable", "a table").splitlines():
        name, _, rows = line.rpartition("|")
        found["odd" if name.startswith('"odd') else name] = int(rows)
    return found


def test_what_is_chosen_is_in_it_and_nothing_else(matrix: Matrix) -> None:
    major = 18
    everything = ordinary_tables(matrix, major, matrix.exports[major, "sql"])
    assert everything.keys() == {*ALL_TABLES, "odd"}
    begun = {
        "data": matrix.begin(major, "no-data", compress=False, excludeTableData=["shop.orders*"]),
        "schema": matrix.begin(
            major, "schema", compress=False, includeSchemas=['"odd ""schema"" -- 😀"']
        ),
        "without": matrix.begin(
            major, "without", compress=False, excludeTables=["shop.secrets", '*."$(id)"'],
            excludeSchemas=["public", "odd*"],
        ),
        # What looks like an option or a command is the name of a table.
        "hostile": matrix.begin(major, "hostile", compress=False, excludeTables=[*HOSTILE]),
        "target": matrix.begin(
            major, "target", {"excludeTableData": ["shop.secrets"], "excludeTables": ["*.base"]},
            compress=False, excludeTables=["shop.derived", "plain"],
        ),
    }  # fmt: skip
    assert ordinary_tables(matrix, major, begun["data"]) == {
        **everything,
        "shop.orders_old": 0,
        "shop.orders_rest": 0,
    }
    assert ordinary_tables(matrix, major, begun["schema"]) == {"odd": 1}
    without = {"shop.secrets", 'shop."$(id)"', "public.plain", "odd"}
    assert ordinary_tables(matrix, major, begun["without"]).keys() == everything.keys() - without
    # A pattern without quotes is in lower case, and none of these is a table's name.
    assert ordinary_tables(matrix, major, begun["hostile"]).keys() >= {"shop.secrets", "odd"}
    target = ordinary_tables(matrix, major, begun["target"])
    assert target["shop.secrets"] == 0
    assert target.keys() == everything.keys() - {"shop.base", "shop.derived", "public.plain"}


def test_a_targets_excludes_hold_where_the_request_includes_the_same(matrix: Matrix) -> None:
    attempted = matrix.begin(
        18, "both", {"excludeTables": ["shop.secrets"]}, compress=False, privileges=False,
        includeTables=["shop.secrets", "plain"],
    )  # fmt: skip
    assert ordinary_tables(matrix, 18, attempted) == {"public.plain": 1}


def test_an_include_reaches_nothing_of_postgresqls_own(matrix: Matrix) -> None:
    # There whoever has pg_read_all_data reads the passwords of all roles of the server.
    attempted = matrix.begin(
        18, "own", compress=False, privileges=False, includeTables=["plain", "*.pg_authid"]
    )
    assert ordinary_tables(matrix, 18, attempted) == {"public.plain": 1}
    text = matrix.servers.type('cat "$1"', 18, attempted.ended()["artifact"]["path"])
    assert "pg_authid" not in text


def test_a_hostile_include_finds_nothing_and_does_nothing(matrix: Matrix) -> None:
    begun = {
        pattern: matrix.begin(18, f"bad-{number}", compress=False, includeTables=[pattern])
        for number, pattern in enumerate(HOSTILE)
    }
    for pattern, attempted in begun.items():
        status = attempted.ended()
        assert (status["phase"], status["reason"]) == ("Failed", "DumpFailed"), (pattern, status)
        # It can't heal.
        assert status["attempts"] == 1, status
        assert f'no matching tables were found for pattern "{pattern}"' in status["message"], status
    assert matrix.servers.type("ls /exports", 18).split().count("x") == 0
    assert matrix.servers.psql(18, "SELECT count(*) FROM shop.secrets", DATABASE) == "3"
