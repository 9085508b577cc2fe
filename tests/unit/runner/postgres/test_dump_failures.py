import signal

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres.dump_failures import (
    DumpEnd,
    Obstacle,
    dump_failure,
    other_dump_failure,
    permission_failure,
)


@pytest.mark.parametrize(
    ("text", "exit_code", "words"),
    [
        (
            "pg_dump: error: query failed: ERROR:  permission denied for table secrets\n"
            "pg_dump: detail: Query was: LOCK TABLE public.secrets IN ACCESS SHARE MODE",
            ExitCode.PERMISSION_DENIED,
            'table "secrets": grant the user pg_read_all_data or SELECT on it',
        ),
        (
            "pg_dump: error: query failed: ERROR:  permission denied for schema hidden",
            ExitCode.PERMISSION_DENIED,
            'schema "hidden": grant the user pg_read_all_data or USAGE',
        ),
        (
            "pg_dump: error: query failed: ERROR:  permission denied for sequence s",
            ExitCode.PERMISSION_DENIED,
            'sequence "s": grant',
        ),
        (
            "pg_dump: error: could not open large object 7: ERROR:  permission denied for large "
            "object 7",
            ExitCode.PERMISSION_DENIED,
            "grant the user SELECT on it, or export as",
        ),
        (
            "pg_dump: error: query failed: ERROR:  query would be affected by row-level security "
            'policy for table "r"',
            ExitCode.PERMISSION_DENIED,
            "BYPASSRLS",
        ),
        (
            "pg_dump: error: aborting because of server version mismatch\n"
            "pg_dump: detail: server version: 18.1; pg_dump version: 17.6",
            ExitCode.SERVER_VERSION_UNSUPPORTED,
            "18.1; pg_dump version: 17.6",
        ),
        (
            "pg_dump: error: could not write to output file: No space left on device",
            ExitCode.STORAGE_FULL,
            "room",
        ),
        (
            "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout",
            ExitCode.DUMP_FAILED,
            "lock",
        ),
        (
            'pg_dump: error: connection to server at "h", port 5432 failed: Connection refused',
            ExitCode.CONNECTION_FAILED,
            "lost",
        ),
        (
            'pg_dump: error: connection to server at "h", port 5432 failed: FATAL:  password '
            'authentication failed for user "u"',
            ExitCode.AUTHENTICATION_FAILED,
            "password",
        ),
        (
            'pg_dump: error: Dumping the contents of table "t" failed: PQgetCopyData() failed.\n'
            "pg_dump: detail: Error message from server: server closed the connection unexpectedly",
            ExitCode.CONNECTION_FAILED,
            "server closed the connection",
        ),
        (
            'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.\n'
            "pg_dump: detail: Error message from server: FATAL:  Verbindung wird abgebrochen",
            ExitCode.CONNECTION_FAILED,
            "Verbindung wird abgebrochen",
        ),
    ],
)
def test_what_pg_dump_says(text: str, exit_code: ExitCode, words: str) -> None:
    failure = dump_failure(DumpEnd(1, text.splitlines()))
    assert failure is not None
    assert failure.exit_code == exit_code
    assert words in failure.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("schema my app", 'schema "my app": grant the user pg_read_all_data or USAGE on it'),
        ("schema table", 'schema "table": '),
        ("table the schema of x", 'table "the schema of x": '),
        ("table a.b", 'table "a.b": '),
        ('sequence say "so"', 'sequence "say ""so""": '),
        ("tablespace table space", 'tablespace "table space": '),
        ("view materialized view", 'view "materialized view": '),
        ("materialized view a b", 'materialized view "a b": '),
        ("large object 7", 'large object "7": grant the user SELECT on it, or'),
        ("foreign server my server", 'foreign server "my server": '),
        ("foreign-data wrapper w x", 'foreign-data wrapper "w x": '),
        ("foreign table t t", 'foreign table "t t": '),
        ("text search dictionary d d", 'text search dictionary "d d": '),
        ("operator class class", 'operator class "class": '),
        ('column "a b" of relation "c d"', 'column "a b" of relation "c d": '),
        ("something new", 'something "new": '),
    ],
)
def test_the_object_that_may_not_be_read(said: str, words: str) -> None:
    text = f"pg_dump: error: query failed: ERROR:  permission denied for {said}"
    failure = dump_failure(DumpEnd(1, [text, "pg_dump: detail: Query was: LOCK TABLE x"]))
    assert failure is not None
    assert failure.exit_code == ExitCode.PERMISSION_DENIED
    assert f"may not {'use' if said.startswith('schema') else 'read'} {words}" in failure.message


def test_the_table_whose_rows_are_hidden() -> None:
    text = 'ERROR:  query would be affected by row-level security policy for table "my "t""'
    failure = dump_failure(DumpEnd(1, [text]))
    assert failure is not None
    assert 'hides rows of table "my ""t""" from' in failure.message


@pytest.mark.parametrize(
    ("first", "second", "exit_code"),
    [
        ("permission denied for table t", "connection to server was lost: server closed the "
         "connection", ExitCode.PERMISSION_DENIED),
        ("permission denied for table t", 'row-level security policy for table "t"',
         ExitCode.PERMISSION_DENIED),
        ("server version mismatch", "terminating connection", ExitCode.SERVER_VERSION_UNSUPPORTED),
        ("No space left on device", "server closed the connection", ExitCode.STORAGE_FULL),
        ("canceling statement due to lock timeout", "terminating connection",
         ExitCode.DUMP_FAILED),
    ],
)  # fmt: skip
def test_the_cause_that_comes_first_in_the_list(
    first: str, second: str, exit_code: ExitCode
) -> None:
    for lines in ([first, second], [second, first]):
        failure = dump_failure(DumpEnd(1, lines))
        assert failure is not None
        assert failure.exit_code == exit_code


@pytest.mark.parametrize(
    "text",
    ["", "pg_dump: error: query failed: FEHLER:  keine Berechtigung für Tabelle x", "Segfault"],
)
def test_what_it_says_in_other_words(text: str) -> None:
    assert dump_failure(DumpEnd(1, text.splitlines())) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "pg_dump: warning: first\npg_dump: error: schema with OID 7 does not exist\nlater",
            "pg_dump failed: schema with OID 7 does not exist;",
        ),
        ("only this", "pg_dump failed: only this;"),
        ("", "exit status 3"),
        (
            "pg_dump: error: query failed: FEHLER:  storniere Anfrage\n"
            "pg_dump: detail: Query was: LOCK TABLE public.t IN ACCESS SHARE MODE",
            "lock",
        ),
    ],
)
def test_a_failure_in_its_own_words(text: str, words: str) -> None:
    failure = other_dump_failure(DumpEnd(3, text.splitlines()))
    assert failure.exit_code == ExitCode.DUMP_FAILED
    assert words in failure.message


@pytest.mark.parametrize(
    ("number", "kills", "exit_code", "words"),
    [
        (signal.SIGKILL, 1, 137, "because the pod reached its memory limit"),
        (signal.SIGKILL, 0, 137, "may be the cause"),
        (signal.SIGSEGV, 0, ExitCode.DUMP_FAILED, "SIGSEGV"),
    ],
)
def test_a_signal(number: int, kills: int, exit_code: int, words: str) -> None:
    failure = dump_failure(DumpEnd(-number, ["error: permission denied for table t"], kills))
    assert failure is not None
    assert failure.exit_code == exit_code
    assert words in failure.message


def test_an_obstacle_from_the_catalogs() -> None:
    assert "table a.b:" in permission_failure(Obstacle("table", "a.b")).message
    hidden = permission_failure(Obstacle("table", "a.b", is_row_security=True))
    assert "BYPASSRLS" in hidden.message
    assert hidden.exit_code == ExitCode.PERMISSION_DENIED
