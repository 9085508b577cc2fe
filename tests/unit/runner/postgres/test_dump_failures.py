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


_LOCKING = "pg_dump: detail: Query was: LOCK TABLE public.t IN ACCESS SHARE MODE"
_COPYING = (
    'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.\n'
    "pg_dump: detail: Error message from server: {}\n"
    "pg_dump: detail: Command was: COPY public.t (id) TO stdout;"
)
_QUERY = "pg_dump: error: query failed: {}"
_REFUSED, _AGAIN = ExitCode.DUMP_REFUSED, ExitCode.DUMP_FAILED


@pytest.mark.parametrize(
    ("text", "exit_code", "words"),
    [
        # The server's texts are those of PostgreSQL 15 and 17, typed off real ones.
        (
            _QUERY.format("ERROR:  out of shared memory\n")
            + f"HINT:  You might need to increase max_locks_per_transaction.\n{_LOCKING}",
            _REFUSED,
            "raise its max_locks_per_transaction",
        ),
        (
            _QUERY.format("FEHLER:  Shared Memory aufgebraucht\n")
            + "TIPP:  Sie müssen möglicherweise »max_locks_per_transaction« erhöhen.",
            _REFUSED,
            "raise its max_locks_per_transaction",
        ),
        (
            _QUERY.format(f'ERROR:  relation "public.t" does not exist\n{_LOCKING}'),
            _AGAIN,
            "dropped or changed",
        ),
        (_QUERY.format("ERROR:  could not open relation with OID 16402"), _AGAIN, "dropped"),
        (_QUERY.format("ERROR:  cache lookup failed for index 16402"), _AGAIN, "dropped"),
        (_COPYING.format("ERROR:  large object 17 does not exist"), _AGAIN, "dropped"),
        ("pg_dump: error: schema with OID 16402 does not exist", _AGAIN, "dropped"),
        (
            "pg_dump: error: failed sanity check, parent table with OID 7 of sequence with OID 8 "
            "not found",
            _AGAIN,
            "dropped",
        ),
        (
            _QUERY.format("ERROR:  deadlock detected\nDETAIL:  Process 1 waits for"),
            _AGAIN,
            "waited too long",
        ),
        (
            'pg_dump: error: connection to server at "h", port 5432 failed: FATAL:  Tenant or user '
            "not found",
            ExitCode.AUTHENTICATION_FAILED,
            "username and password",
        ),
        (
            'pg_dump: error: connection to server at "h", port 5432 failed: FATAL:  sorry, too '
            "many clients already",
            ExitCode.CONNECTION_FAILED,
            "no connection left",
        ),
        (
            'pg_dump: error: connection to server at "h", port 5432 failed: FATAL:  connection '
            "requires a valid client certificate",
            ExitCode.AUTHENTICATION_FAILED,
            "sslcert and sslkey",
        ),
        (
            _COPYING.format("FATAL:  terminating connection due to administrator command"),
            ExitCode.CONNECTION_FAILED,
            "starting, stopping or recovering",
        ),
        (
            'pg_dump: error: connection to server at "h", port 5432 failed: FATAL:  the database '
            "system is in recovery mode",
            ExitCode.CONNECTION_FAILED,
            "starting, stopping or recovering",
        ),
        (
            _COPYING.format(
                "ERROR:  canceling statement due to conflict with recovery\n"
                "DETAIL:  User query might have needed to see row versions that must be removed."
            ),
            _AGAIN,
            "hot_standby_feedback",
        ),
        (
            _COPYING.format("FATAL:  terminating connection due to conflict with recovery"),
            _AGAIN,
            "max_standby_streaming_delay",
        ),
        (
            _COPYING.format("ERROR:  canceling statement due to user request"),
            _AGAIN,
            "Somebody canceled",
        ),
        (
            _COPYING.format("FATAL:  terminating connection due to idle-in-transaction timeout"),
            _REFUSED,
            "lift that limit",
        ),
        (_COPYING.format("FATAL:  query timeout"), _REFUSED, "a pooler before it"),
        (
            _QUERY.format(
                'ERROR:  could not connect to server "archive"\n'
                'DETAIL:  connection to server at "10.0.0.9", port 5432 failed: Connection refused'
                "\n\tIs the server running on that host and accepting TCP/IP connections?\n"
                "pg_dump: detail: Query was: COPY (SELECT id FROM public.ft ) TO stdout;"
            ),
            _AGAIN,
            'exclude_table_data (query failed: ERROR: could not connect to server "archive")',
        ),
        (
            _QUERY.format(
                "ERROR:  could not establish connection\n"
                'DETAIL:  connection to server at "10.0.0.9", port 5432 failed: Connection refused'
            ),
            _AGAIN,
            "Another server",
        ),
        (
            _COPYING.format(
                'ERROR:  character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no '
                'equivalent in encoding "LATIN1"'
            ),
            _REFUSED,
            "0xe2 0x82 0xac",
        ),
        (
            _COPYING.format(
                "FEHLER:  Zeichen mit Byte-Folge 0xe2 0x82 0xac in Kodierung »UTF8« hat keine "
                "Entsprechung in Kodierung »LATIN1«"
            ),
            _REFUSED,
            "correct that text",
        ),
        (
            _COPYING.format('ERROR:  invalid byte sequence for encoding "UTF8": 0xff'),
            _REFUSED,
            "correct that text",
        ),
        (
            _QUERY.format(
                'ERROR:  could not access file "$libdir/postgis-3": No such file or directory'
            ),
            _REFUSED,
            "install that extension's package",
        ),
        (
            _QUERY.format(
                "FEHLER:  konnte nicht auf Datei »$libdir/postgis-3« zugreifen: Datei oder "
                "Verzeichnis nicht gefunden"
            ),
            _REFUSED,
            "install that extension's package",
        ),
        (
            _QUERY.format(
                'ERROR:  could not load library "/usr/lib/postgresql/17/lib/timescaledb.so": '
                "libssl.so.1.1: cannot open shared object file"
            ),
            _REFUSED,
            "install that extension's package",
        ),
        (
            _COPYING.format(
                "ERROR:  function secret_of(integer) does not exist\nCONTEXT:  PL/pgSQL function "
                "ext.shown(integer) line 3 at RETURN"
            ),
            _REFUSED,
            "A function of the database or of an extension fails",
        ),
        (
            _COPYING.format(
                'ERROR:  relation "t" does not exist\nCONTEXT:  SQL function "shown" during startup'
            ),
            _REFUSED,
            "A function of the database or of an extension fails",
        ),
        (
            _QUERY.format(
                'ERROR:  invalid constraint type "n"\npg_dump: detail: Query was: SELECT'
            ),
            _REFUSED,
            "update the server to the newest minor",
        ),
        ("pg_dump: error: unrecognized constraint type: n", _REFUSED, "the newest minor"),
        ('pg_dump: error: unrecognized provolatile value for function "f"', _REFUSED, "minor"),
        (
            _QUERY.format('ERROR:  unrecognized configuration parameter "transaction_timeout"'),
            _REFUSED,
            "the newest minor",
        ),
        (
            _QUERY.format("ERROR:  function pg_catalog.pg_get_x(oid) does not exist"),
            _REFUSED,
            "the newest minor",
        ),
        (
            _QUERY.format("ERROR:  access to non-system foreign table is restricted"),
            _REFUSED,
            "which pg_dump forbids",
        ),
        (
            _COPYING.format("ERROR:  invalid page in block 1 of relation base/5/16384"),
            _REFUSED,
            "data are damaged",
        ),
        (
            _COPYING.format("ERROR:  missing chunk number 0 for toast value 17 in pg_toast_16384"),
            _REFUSED,
            "data are damaged",
        ),
        (
            _COPYING.format(
                "ERROR:  out of memory\nDETAIL:  Cannot enlarge string buffer containing "
                "1073741801 bytes by 32 more bytes."
            ),
            _REFUSED,
            "A row has more bytes",
        ),
        (
            _COPYING.format("ERROR:  invalid memory alloc request size 1073741824"),
            _REFUSED,
            "A row has more bytes",
        ),
        (
            _COPYING.format("ERROR:  out of memory\nDETAIL:  Failed on request of size 8192."),
            _AGAIN,
            "The server is out of memory",
        ),
        ("pg_dump: error: out of memory", ExitCode.KILLED, "resources.limits.memory"),
        (
            _COPYING.format(
                'ERROR:  could not write to file "base/pgsql_tmp/pgsql_tmp1.0": No space left on '
                "device"
            ),
            _AGAIN,
            "The server's own disk",
        ),
        (
            "pg_dump: error: could not write to output file: Input/output error",
            ExitCode.STORAGE_FALTERING,
            "The exports' volume",
        ),
        (
            "pg_dump: error: could not read from input file: Stale file handle",
            ExitCode.STORAGE_FALTERING,
            "The exports' volume",
        ),
        # The request's patterns.
        ("pg_dump: error: no matching schemas were found", _REFUSED, "no matching schemas"),
        (
            'pg_dump: error: no matching tables were found for pattern "nope"',
            _REFUSED,
            'for pattern "nope"',
        ),
        (
            'pg_dump: error: no matching extensions were found for pattern "nope"',
            _REFUSED,
            'for pattern "nope"',
        ),
        (
            'pg_dump: error: no matching foreign servers were found for pattern "nope"',
            _REFUSED,
            'for pattern "nope"',
        ),
        (
            "pg_dump: error: improper relation name (too many dotted names): a.b.c.d",
            _REFUSED,
            "a.b.c.d",
        ),
        (
            "pg_dump: error: improper qualified name (too many dotted names): a.b.c.d",
            _REFUSED,
            "a.b.c.d",
        ),
        (
            "pg_dump: error: cross-database references are not implemented: x.y.z",
            _REFUSED,
            "x.y.z",
        ),
        (
            _QUERY.format("ERROR:  invalid regular expression: parentheses () not balanced\n")
            + "pg_dump: detail: Query was: SELECT c.oid\nFROM pg_catalog.pg_class c\n"
            "  AND c.relname OPERATOR(pg_catalog.~) '^(foo(bar)$' COLLATE pg_catalog.default\n",
            _REFUSED,
            "parentheses () not balanced of the pattern foo(bar)",
        ),
    ],
)
def test_which_side_is_at_fault(text: str, exit_code: ExitCode, words: str) -> None:
    failure = dump_failure(DumpEnd(1, text.splitlines()))
    assert failure is not None
    assert failure.exit_code == exit_code
    assert words in failure.message


def test_a_pattern_in_a_message_is_bounded_and_clean() -> None:
    pattern = "\x1b[31m\u202e" + "p" * 5000
    for text in (
        f'pg_dump: error: no matching tables were found for pattern "{pattern}"',
        "pg_dump: error: query failed: ERROR:  invalid regular expression: x\n"
        f"WHERE c.relname OPERATOR(pg_catalog.~) '^({pattern})$' COLLATE pg_catalog.default",
    ):
        failure = dump_failure(DumpEnd(1, text.splitlines()))
        assert failure is not None
        assert failure.exit_code == ExitCode.DUMP_REFUSED
        assert "ppp" in failure.message
        assert len(failure.message) < 1000
        assert failure.message.isprintable()


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
        ('ERROR:  could not connect to server "x"', "connection to server at h failed: refused",
         ExitCode.DUMP_FAILED),
        ("ERROR:  invalid page in block 1", "server closed the connection",
         ExitCode.DUMP_REFUSED),
        ("FATAL:  terminating connection due to administrator command",
         "PL/pgSQL function f() line 1 at SQL statement", ExitCode.CONNECTION_FAILED),
        ("PL/pgSQL function f() line 1 at RETURN", 'ERROR:  relation "t" does not exist',
         ExitCode.DUMP_REFUSED),
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
            "pg_dump: warning: first\npg_dump: error: something new is not there\nlater",
            "pg_dump failed: something new is not there;",
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
        (signal.SIGXFSZ, 0, ExitCode.STORAGE_FULL, "raise storage.maxSpoolBytes"),
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
