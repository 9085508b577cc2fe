"""What an export leaves out and what its restore needs is told, of objects on real servers.

No extension of Debian's brings a label provider, TimescaleDB or PostGIS: tables of the unit tests
have these.
"""

import secrets
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from failing_exports import begin
from installation import Installation
from playground.postgres import Postgres
from playground.tools import kubectl, wait_for

pytestmark = pytest.mark.cluster

READER, SUPERUSER, OUTSIDER = "remarks_reader", "remarks_superuser", "remarks_outsider"

_SERVER = f"""
CREATE ROLE remarks_owner;
CREATE ROLE remarks_granted;
CREATE ROLE remarks_policed;
CREATE ROLE {READER} LOGIN PASSWORD :'password';
CREATE ROLE {OUTSIDER} LOGIN PASSWORD :'password';
CREATE ROLE {SUPERUSER} LOGIN SUPERUSER PASSWORD :'password';
GRANT pg_read_all_data TO {READER};
CREATE TABLESPACE remarks_space LOCATION '/tmp/space';
CREATE DATABASE remarks OWNER remarks_owner;
CREATE DATABASE hostile_names TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8';
CREATE DATABASE closed;
CREATE DATABASE empty;
GRANT CONNECT ON DATABASE remarks TO remarks_granted;
REVOKE TEMPORARY ON DATABASE remarks FROM PUBLIC;
ALTER DATABASE remarks SET app.jwt_secret = 'hidden value';
ALTER DATABASE remarks SET work_mem = '8MB';
ALTER ROLE remarks_owner IN DATABASE remarks SET work_mem = '9MB';
COMMENT ON DATABASE remarks IS 'Orders'' own';
"""
_REMARKS = f"""
CREATE EXTENSION hstore;
CREATE EXTENSION postgres_fdw;
CREATE TABLE public.of_hstore AS SELECT 1 AS id;
ALTER EXTENSION hstore ADD TABLE public.of_hstore;
CREATE TABLE public.configuration AS SELECT 1 AS id;
ALTER EXTENSION hstore ADD TABLE public.configuration;
UPDATE pg_extension
   SET extconfig = ARRAY['public.configuration'::regclass], extcondition = ARRAY['']
 WHERE extname = 'hstore';
CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw;
CREATE USER MAPPING FOR remarks_owner SERVER away OPTIONS (password 'hidden value');
CREATE FOREIGN TABLE public.elsewhere (id int) SERVER away;
CREATE SUBSCRIPTION orders_from_away CONNECTION 'dbname=away' PUBLICATION orders
    WITH (connect = false, enabled = false, slot_name = NONE);
CREATE PUBLICATION orders_of_ours;
SELECT lo_from_bytea(815, 'large');
GRANT SELECT ON LARGE OBJECT 815 TO {READER};
CREATE FUNCTION public.noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noticed ON ddl_command_end EXECUTE FUNCTION public.noticed();
CREATE TABLE public.prices (id int PRIMARY KEY) TABLESPACE remarks_space;
ALTER TABLE public.prices OWNER TO remarks_owner;
GRANT SELECT ON public.prices TO remarks_granted;
CREATE POLICY certain ON public.prices TO remarks_policed USING (true);
CREATE FUNCTION public.careless() RETURNS bigint LANGUAGE sql
    AS 'SELECT count(*) FROM public.prices';
CREATE FUNCTION public.careful() RETURNS bigint LANGUAGE sql SET search_path = public
    AS 'SELECT count(*) FROM prices';
CREATE FUNCTION public.parsed() RETURNS bigint LANGUAGE sql
    RETURN (SELECT count(*) FROM public.prices);
CREATE MATERIALIZED VIEW public.totals AS
    SELECT public.careless(), public.careful(), public.parsed(), abs(1);
CREATE MATERIALIZED VIEW public.not_filled AS SELECT public.careless() WITH NO DATA;
CREATE FUNCTION public.careless_check(number int) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS 'SELECT number > 0';
CREATE FUNCTION public.twice(number int) RETURNS int LANGUAGE plpgsql IMMUTABLE
    AS 'BEGIN RETURN 2 * number; END';
ALTER TABLE public.prices ADD CHECK (public.careless_check(id));
ALTER TABLE public.prices ADD CONSTRAINT for_later CHECK (public.twice(id) > 0) NOT VALID;
CREATE DOMAIN public.positive AS int CHECK (public.careless_check(VALUE));
CREATE INDEX ON public.prices (public.twice(id));
CREATE TABLE public.computed (
    id int DEFAULT public.twice(1), more int GENERATED ALWAYS AS (public.twice(id)) STORED
);
CREATE UNLOGGED TABLE public.fleeting AS SELECT 1 AS id;
"""
# More than are told, with what would end a line, a name or a terminal's patience.
_NAMES = r"""
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
COMMENT ON DATABASE hostile_names IS E'line one\nline ''two''\u202e\x1b[31m; DROP TABLE x; --';
DO $$
DECLARE
    hostile text[] := ARRAY[
        E'0 new\nline', '1 "quoted"', E'2 \x1b[2J\x07', E'3 \u202e turned', repeat('😀', 15),
        ''' OR 1=1; --', '$(reboot) `reboot`', '<script>alert(1)</script>', '%s %n {0}'];
BEGIN
    FOR number IN 1..9 LOOP
        EXECUTE format('CREATE SCHEMA %I', hostile[number]);
        EXECUTE format('CREATE FOREIGN TABLE %I.%I (x text) SERVER files '
            'OPTIONS (filename ''/dev/null'')', hostile[number], hostile[number]);
        EXECUTE format('CREATE FUNCTION %I.%I() RETURNS int LANGUAGE sql AS ''SELECT 1''',
            hostile[number], hostile[number]);
        EXECUTE format('CREATE MATERIALIZED VIEW %I.%I AS SELECT %I.%I()', hostile[number],
            hostile[number] || 'v', hostile[number], hostile[number]);
        EXECUTE format('CREATE ROLE %I', hostile[number]);
        EXECUTE format('ALTER SCHEMA %I OWNER TO %I', hostile[number], hostile[number]);
    END LOOP;
    FOR number IN 1..300 LOOP
        EXECUTE format('CREATE FOREIGN TABLE public.%I (x text) SERVER files '
            'OPTIONS (filename ''/dev/null'')', E'many\n' || number);
        EXECUTE format('CREATE PUBLICATION %I', E'many\n' || repeat('😀', 10) || number);
        EXECUTE format('ALTER DATABASE hostile_names SET %I = %L', 'many.a' || number, E'a\nb');
    END LOOP;
END $$;
"""
_CLOSED = f"""
REVOKE SELECT ON pg_catalog.pg_user_mappings FROM PUBLIC;
CREATE EXTENSION hstore;
CREATE TABLE public.things AS SELECT 1 AS id;
GRANT SELECT ON public.things TO {OUTSIDER};
"""
# None of them its own.
_EMPTY = """
CREATE EXTENSION hstore;
CREATE TABLE public.of_hstore AS SELECT 1 AS id;
ALTER EXTENSION hstore ADD TABLE public.of_hstore;
CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
_STANDBY_PORT = "5433"
_STANDBY = f"""
export PGCTLTIMEOUT=300
pg_basebackup -R -c fast -D /tmp/standby -T /tmp/space=/tmp/standby_space
pg_ctl -w -D /tmp/standby -l /tmp/standby.log -o '-p {_STANDBY_PORT} -c listen_addresses=*' start
"""

_SETTINGS = (
    "The database's settings are not in the file; psql's \\drds shows their values, and ALTER "
    "DATABASE … SET makes them again: app.jwt_secret, work_mem, work_mem (of role remarks_owner)."
)
_GRANTS = (
    "Grants on the database itself are not in the file; GRANT … ON DATABASE … makes them again: "
    "PUBLIC (CONNECT), remarks_owner (CONNECT, CREATE, TEMPORARY), remarks_granted (CONNECT)."
)
_COMMENT = "The database's comment is not in the file: COMMENT ON DATABASE … IS 'Orders'' own';"
_SUBSCRIPTIONS = (
    "Subscriptions are not in the file, because only a superuser may dump them: orders_from_away."
)
_USER_MAPPINGS = (
    "The options of user mappings, such as passwords, are not in the file where the export's role "
    "may not see them: remarks_owner on away."
)
_FOREIGN_ROWS = (
    "Rows of foreign tables are not in the file, since they are on another server: "
    "public.elsewhere."
)
_EXTENSION_ROWS = (
    "Rows of tables that belong to an extension, and are not registered as its configuration, are "
    "not in the file: public.of_hstore of hstore."
)
_UNLOGGED_ROWS = (
    "Rows of unlogged tables are not in the file, because the server is a standby, which has none: "
    "public.fleeting."
)
_BESIDE = (
    "Only the included schemas and tables are in the file: what belongs to no schema, such as "
    "large objects (1); extensions (hstore, postgres_fdw); foreign servers (away); publications "
    "(orders_of_ours); subscriptions (orders_from_away); event triggers (noticed), is not, and of "
    "what they depend on only what is included, too."
)
_VIEWS = (
    "A restore fills materialized views with an empty search_path, and stops where a function in "
    "one names anything without its schema; ALTER FUNCTION … SET search_path before the export "
    "helps: public.totals by public.careless."
)

_ROW_FUNCTIONS = (
    "A restore checks rows, computes columns and builds indexes with an empty search_path, and "
    "stops where a function in one names anything without its schema, which ALTER FUNCTION … SET "
    "search_path before the export helps, or reads a table whose rows come later, which a "
    "constraint that is NOT VALID avoids: public.computed by public.twice, public.prices by "
    "public.careless_check, public.prices_twice_idx by public.twice, public.positive by "
    "public.careless_check."
)


class Server:
    """A server with the databases, its standby in the same pod, and exports of both."""

    def __init__(self, installation: Installation) -> None:
        self._namespace = installation.namespace
        self._volume = installation.volume
        self._server = Postgres(installation.namespace, "remarks")
        self._server.start()
        self._password = secrets.token_urlsafe(24)
        self._run("mkdir /tmp/space")
        self._server.psql(_SERVER, "postgres", "-v", f"password={self._password}")
        for database, sql in {
            "remarks": _REMARKS,
            "hostile_names": _NAMES,
            "closed": _CLOSED,
            "empty": _EMPTY,
        }.items():
            self._server.psql(sql, database)

    def _run(self, shell: str) -> str:
        command = ["exec", self._server.pod, "--", "bash", "-ec", shell]
        return kubectl("-n", self._namespace, *command)

    def start_standby(self) -> str:
        """Starts it, and returns the pod's address."""
        self._run(_STANDBY)
        return kubectl(
            "-n", self._namespace, "get", "pod", self._server.pod, "-o", "jsonpath={.status.podIP}"
        )

    def export(
        self, name: str, database: str = "remarks", role: str = READER, **more: Any
    ) -> dict[str, Any]:
        """The status of a finished export; `host` and `port` may be the standby's."""
        connection = {
            "host": more.pop("host", self._server.host),
            "port": more.pop("port", "5432"),
            "username": role,
            "password": self._password,
            "database": database,
            "sslmode": "disable",
        }
        export = begin(self._namespace, f"remarks-{name}", connection, compress=False, **more)
        status = export.ended()
        assert status["phase"] == "Succeeded", status
        return status

    def text(self, status: dict[str, Any]) -> str:
        """The file's."""
        return self._volume.run("cat", status["artifact"]["path"])

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Server]:
    started = Server(installation)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def usual(server: Server) -> dict[str, Any]:
    return server.export("usual")


def warned(status: dict[str, Any]) -> list[str]:
    """The messages of what is left out."""
    remarks = status.get("warnings", [])
    return [each["message"] for each in remarks if each["code"] == "objects_left_out"]


def hints(status: dict[str, Any]) -> dict[str, str]:
    """The hints' messages by their codes, each of which is there once."""
    found = {each["code"]: each["message"] for each in status.get("restoreHints", [])}
    assert len(found) == len(status.get("restoreHints", []))
    return found


def test_a_database_without_tables_is_told(server: Server, usual: dict[str, Any]) -> None:
    first = server.export("empty", "empty")["warnings"][0]
    assert first == {
        "code": "no_tables",
        "message": "The database has no tables, views or sequences, so the file has none: check "
        "that the ExportTarget names the database that was meant.",
    }
    assert "no_tables" not in {each["code"] for each in usual["warnings"]}


def test_what_is_left_out(server: Server, usual: dict[str, Any]) -> None:
    told = [
        _SETTINGS, _GRANTS, _COMMENT, _SUBSCRIPTIONS, _USER_MAPPINGS, _FOREIGN_ROWS, _EXTENSION_ROWS
    ]  # fmt: skip
    assert [message for message in told if message not in warned(usual)] == []
    assert warned(usual)[: len(told)] == told
    text = server.text(usual)
    for absent in (
        "app.jwt_secret", "ON DATABASE", "SUBSCRIPTION", "hidden value", "COPY public.of_hstore",
        "COPY public.elsewhere",
    ):  # fmt: skip
        assert absent not in text
    # What is there needs no warning.
    for present in (
        "USER MAPPING", "PUBLICATION", "EVENT TRIGGER", "lo_open", "COPY public.fleeting",
        "COPY public.configuration",
    ):  # fmt: skip
        assert present in text
    assert "hidden value" not in str(usual)


def test_what_a_restore_needs(usual: dict[str, Any]) -> None:
    told = hints(usual)
    assert told.pop("extensions").startswith(
        "These extensions must be installed on the target's server; the file makes them, in the "
        "version that is the server's default: hstore 1."
    )
    assert told == {
        "missing_roles": "Roles that own objects, hold grants, are named in policies or have user "
        "mappings must exist on the target's server, for the file doesn't make them: postgres, "
        "remarks_granted, remarks_owner, remarks_policed, [hidden] (the export's own role).",
        "tablespaces": "Tablespaces must exist on the target's server, unless the file is an "
        "archive and pg_restore gets --no-tablespaces: remarks_space.",
        "event_triggers": "Only a superuser can restore event triggers: be one in a scratch "
        "instance that holds nothing else. They then fire while the restore fills materialized "
        "views, and the printed command takes all back where one fails: noticed.",
        "materialized_view_search_path": _VIEWS,
        "function_search_path": _ROW_FUNCTIONS,
        "locale": "The database was made as CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' "
        "LOCALE 'C.UTF-8'; text goes into no other encoding safely, and sorts otherwise in another "
        "locale.",
    }


def test_of_what_was_chosen(server: Server) -> None:
    status = server.export("chosen", includeSchemas=["public"], owner=False, privileges=False)
    assert warned(status) == [_BESIDE, _SETTINGS, _COMMENT, _FOREIGN_ROWS, _EXTENSION_ROWS]
    told = hints(status)
    assert told["missing_roles"] == (
        "Roles that are named in policies must exist on the target's server, for the file doesn't "
        "make them: remarks_policed."
    )
    assert "the file doesn't make them, so CREATE EXTENSION" in told["extensions"]
    assert "event_triggers" not in told
    text = server.text(status)
    for absent in ("EXTENSION", "SERVER", "PUBLICATION", "EVENT TRIGGER", "lo_open", "OWNER TO"):
        assert f"\nCREATE {absent}" not in text
        assert f"ALTER {absent}" not in text
    assert "lo_open" not in text


def test_data_alone_and_schema_alone(server: Server) -> None:
    data = server.export("data", content="data")
    assert warned(data)[:2] == [_FOREIGN_ROWS, _EXTENSION_ROWS]
    told = hints(data)
    assert "DATABASE must have the empty tables already" in told.pop("data_only")
    assert told == {
        "materialized_view_search_path": _VIEWS, "function_search_path": _ROW_FUNCTIONS
    }  # fmt: skip
    schema = server.export("schema", content="schema")
    assert _SETTINGS in warned(schema)
    assert not {_FOREIGN_ROWS, _EXTENSION_ROWS} & set(warned(schema))
    assert "materialized_view_search_path" not in hints(schema)


def test_a_superuser_leaves_less_out(server: Server) -> None:
    status = server.export("superuser", role=SUPERUSER)
    assert not {_SUBSCRIPTIONS, _USER_MAPPINGS} & set(warned(status))
    assert _SETTINGS in warned(status)
    text = server.text(status)
    assert "CREATE SUBSCRIPTION orders_from_away" in text
    assert "password 'hidden value'" in text


def test_a_standby_has_no_rows_of_unlogged_tables(server: Server) -> None:
    address = server.start_standby()

    def standby() -> dict[str, Any]:
        return server.export("standby", host=address, port=_STANDBY_PORT)

    status = wait_for(standby, "an export of the standby", 60)
    assert _UNLOGGED_ROWS in warned(status)
    assert "COPY public.fleeting" not in server.text(status)


def test_hostile_names_stay_names_in_short_sentences(server: Server) -> None:
    status = server.export("names", "hostile_names")
    messages = [*warned(status), *hints(status).values()]
    for message in messages:
        assert len(message) < 700
        assert not [c for c in message if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}]
    [foreign] = [each for each in messages if each.startswith("Rows of foreign tables")]
    assert '"0 new line"."0 new line", "1 ""quoted"""."1 ""quoted"""' in foreign
    assert foreign.endswith(" more.")
    assert foreign.partition(": ")[2].count(", ") + 1 + int(foreign.split()[-2]) == 309
    assert "many.a100, many.a101" in next(each for each in messages if "\\drds" in each)
    [comment] = [each for each in messages if "comment" in each]
    assert comment == (
        "The database's comment is not in the file: COMMENT ON DATABASE … IS "
        "'line one line ''two'' [31m; DROP TABLE x; --';"
    )
    assert '"0 new line"' in hints(status)["missing_roles"]
    assert '"0 new line"."0 new linev" by' in hints(status)["materialized_view_search_path"]
    assert "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'" in hints(status)["locale"]
    chosen = server.export("names-chosen", "hostile_names", includeSchemas=["public"])
    assert 'publications ("many' in warned(chosen)[0]
    assert " more)" in warned(chosen)[0]


def test_a_catalog_that_is_closed_ends_no_export(server: Server) -> None:
    status = server.export("closed", "closed", OUTSIDER)
    [remark] = [each for each in status["warnings"] if each["code"] == "not_looked"]
    assert remark["message"] == (
        "Some catalogs could not be read, so there may be more that the file leaves out or that a "
        "restore needs: permission denied for view pg_user_mappings"
    )
    # What is asked after it is answered.
    assert "hstore" in hints(status)["extensions"]
