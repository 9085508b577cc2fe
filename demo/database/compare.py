#!/usr/bin/env python3
"""Tell whether a restored database equals its source.

A fingerprint is taken of each side and the two are compared in words: the row count and a content
hash of every table and materialised view, the state of every sequence, every large object with
its owner and grants, and the schema as pg_dump writes it. Only psql and pg_dump are needed, and
they may run elsewhere: each side has a command prefix, for example
``kubectl exec -i -n demo source-0 -- env PGUSER=postgres``.

The role that looks must see everything: a superuser, or one with BYPASSRLS, pg_read_all_data and
SELECT on all large objects. Neither side may be written to meanwhile.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_TIMEOUT = 900.0
DETAIL_LINES = 6
DEFAULT_LIMIT = 200

# Rows are hashed as text, so every setting that changes the text of a value is fixed here.
# row_security = off turns "sees only some of the rows" into an error.
FINGERPRINT_SQL = r"""
\set ON_ERROR_STOP on
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
\pset null ''
\encoding UTF8
SET client_min_messages = warning;
SET search_path = '';
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
SET extra_float_digits = 3;
SET bytea_output = 'hex';
SET lc_monetary = 'C';
SET xmlbinary = 'base64';
SET quote_all_identifiers = off;
SET row_security = off;
SET statement_timeout = 0;
SET jit = off;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET max_parallel_workers_per_gather = 4;
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- Columns go by name, not by position: dropped columns, inheritance and attached partitions leave
-- orders behind that no dump can restore. OFFSET 0 keeps the row's text from being made twice.
-- ONLY keeps the rows of inheritance children out of their parents.
SELECT format($sql$
         SELECT json_build_object('is', 'table', 'name', %L::text, 'rows', count(*), 'hashes',
                  json_build_array(
                    coalesce(sum(hashtextextended(line, 20240229)), 0)::text,
                    coalesce(sum(hashtextextended(line, -7046029254386353131)), 0)::text))
           FROM (SELECT ROW(%s)::text COLLATE "C" AS line
                   FROM ONLY %s AS of_row OFFSET 0) AS lines$sql$,
         format('%I.%I', n.nspname, c.relname),
         (SELECT string_agg(format('of_row.%I', a.attname), ', ' ORDER BY a.attname COLLATE "C")
            FROM pg_attribute AS a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
         format('%I.%I', n.nspname, c.relname))
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated)
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY c.relpages DESC
\gexec

SELECT json_build_object('is', 'unpopulated', 'name', format('%I.%I', n.nspname, c.relname))
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND NOT c.relispopulated
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_';

SELECT json_build_object('is', 'partitioned', 'name', format('%I.%I', n.nspname, c.relname),
         'leaves', (SELECT coalesce(json_agg(format('%I.%I', ln.nspname, lc.relname)), '[]')
                      FROM pg_partition_tree(c.oid) AS t
                      JOIN pg_class AS lc ON lc.oid = t.relid AND lc.relkind = 'r'
                      JOIN pg_namespace AS ln ON ln.oid = lc.relnamespace))
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'p' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_';

SELECT format($sql$SELECT json_build_object('is', 'sequence', 'name', %L::text,
                     'last_value', last_value::text, 'is_called', is_called) FROM %s$sql$,
         format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname))
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
\gexec

SELECT json_build_object('is', 'large object', 'name', m.oid::text,
         'bytes', length(content), 'hash', encode(sha256(content), 'hex'),
         'owner', pg_get_userbyid(m.lomowner),
         'grants', (SELECT json_agg(g::text ORDER BY g::text COLLATE "C")
                      FROM unnest(coalesce(m.lomacl, acldefault('L', m.lomowner))) AS g),
         'comment', obj_description(m.oid, 'pg_largeobject'))
  FROM pg_largeobject_metadata AS m, LATERAL (SELECT lo_get(m.oid) AS content OFFSET 0) AS got
 ORDER BY m.oid;
COMMIT;
"""


class CompareError(Exception):
    """A side could not be looked at."""


@dataclass(frozen=True)
class TableMark:
    """Row count and content of a table; hashes are sums, so order is nothing and duplicates count.

    Two sums with independent seeds: one 64-bit sum could be hit by chance or by cancelling out.
    """

    rows: int
    hashes: tuple[int, ...]

    def __add__(self, other: TableMark) -> TableMark:
        return TableMark(
            self.rows + other.rows,
            tuple(a + b for a, b in zip(self.hashes, other.hashes, strict=True)),
        )


NOTHING = TableMark(0, (0, 0))


@dataclass(frozen=True)
class LargeObject:
    """A large object is no row of a table: owner, grants and comment hang on each of them."""

    size: int
    hash: str
    owner: str
    grants: tuple[str, ...] = ()
    comment: str | None = None


@dataclass(frozen=True)
class Fingerprint:
    """What is compared. A table of None is a materialised view that was never filled."""

    tables: Mapping[str, TableMark | None] = field(default_factory=dict)
    partitioned: Mapping[str, TableMark] = field(default_factory=dict)
    sequences: Mapping[str, str] = field(default_factory=dict)
    large_objects: Mapping[str, LargeObject] = field(default_factory=dict)
    schema: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """All rows once; those of partitioned tables are their leaves'."""
        return sum(mark.rows for mark in self.tables.values() if mark is not None)

    @property
    def schema_lines(self) -> int:
        """Lines of DDL compared."""
        return sum(len(lines) for lines in self.schema.values())

    @property
    def large_object_bytes(self) -> int:
        """Bytes of all large objects."""
        return sum(lo.size for lo in self.large_objects.values())


# --- the schema as text -------------------------------------------------------------------------

_HEADER = re.compile(
    r"-- Name: (?P<name>.*); Type: (?P<type>.*?); Schema: (?P<schema>.*?); Owner: .*"
)
_FRAME = re.compile(r"-- PostgreSQL database dump( complete)?")
_VERSION = re.compile(r"-- Dumped (from|by) .*")
_RESTRICT = re.compile(r"\\(un)?restrict \S+")
_STATE = re.compile(
    r"SET (?P<name>default_tablespace|default_table_access_method) = (?P<value>.*);"
)
_STATE_AT_START = {"default_tablespace": "''", "default_table_access_method": "heap"}


def normalise_schema(text: str) -> dict[str, tuple[str, ...]]:
    r"""Cut the text of ``pg_dump --schema-only`` into objects, each with its lines.

    By object, because the order of the text is partly that of object identifiers, which a restore
    deals anew. Versions, random \\restrict tokens and the preamble of settings are left out.
    """
    # Not splitlines(): names and bodies may hold other characters that it takes for line ends.
    lines = text.split("\n")
    found: dict[str, list[tuple[str, ...]]] = {}
    state = dict(_STATE_AT_START)
    label: str | None = None
    body: list[str] = []

    def close() -> None:
        if label is not None:
            found.setdefault(label, []).append(_tidy_body(label, body))

    at = 0
    while at < len(lines):
        line = lines[at]
        middle = lines[at + 1] if line == "--" and lines[at + 2 : at + 3] == ["--"] else None
        header = _HEADER.fullmatch(middle) if middle is not None else None
        if header is not None:
            close()
            label, body = _label(header["type"], header["schema"], header["name"]), []
            at += 3
        elif middle is not None and _FRAME.fullmatch(middle):
            close()
            label, body = None, []
            at += 3
        elif setting := _STATE.fullmatch(line):
            # Set once for all the tables that follow, hence told to each of them instead.
            state[setting["name"]] = setting["value"]
            at += 1
        else:
            if not _VERSION.fullmatch(line) and not _RESTRICT.fullmatch(line):
                if line.startswith("CREATE "):
                    body.extend(
                        f"-- {name} = {value}"
                        for name, value in state.items()
                        if value != _STATE_AT_START[name]
                    )
                body.append(line)
            at += 1
    close()
    # Objects may share a label (its text is cut at line breaks, say): all of them count.
    return {
        label: tuple(line for lines in sorted(parts) for line in lines)
        for label, parts in found.items()
    }


def _label(kind: str, schema: str, name: str) -> str:
    return f"{kind} {name}" if schema == "-" else f"{kind} {schema}.{name}"


def _tidy_body(label: str, body: Sequence[str]) -> tuple[str, ...]:
    lines = list(body)
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    # Grants are a set; their order tells when they were made. Those made in the name of another
    # role stand between two lines that switch, which sorting would tear apart.
    is_grants = label.startswith(("ACL ", "DEFAULT ACL "))
    if is_grants and not any(" SESSION AUTHORIZATION" in line for line in lines):
        lines.sort()
    return tuple(lines)


# --- the contents -------------------------------------------------------------------------------


def parse_contents(text: str) -> Fingerprint:
    """Read what the fingerprint's SQL printed: one JSON object a line."""
    tables: dict[str, TableMark | None] = {}
    leaves: dict[str, list[str]] = {}
    sequences: dict[str, str] = {}
    large_objects: dict[str, LargeObject] = {}
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            item: dict[str, Any] = json.loads(line)
            what, name = item["is"], item["name"]
        except (ValueError, KeyError, TypeError):
            raise CompareError(f"psql printed something unexpected: {line[:200]}") from None
        if what == "table":
            tables[name] = TableMark(item["rows"], tuple(int(h) for h in item["hashes"]))
        elif what == "unpopulated":
            tables[name] = None
        elif what == "partitioned":
            leaves[name] = item["leaves"]
        elif what == "sequence":
            called = "used" if item["is_called"] else "not used yet"
            sequences[name] = f"{item['last_value']}, {called}"
        elif what == "large object":
            large_objects[name] = LargeObject(
                item["bytes"], item["hash"], item["owner"], tuple(item["grants"]), item["comment"]
            )
        else:
            raise CompareError(f"psql printed something unexpected: {line[:200]}")
    # A partitioned table is the sum of its leaves: reading them again would double the time.
    partitioned = {
        parent: sum((tables[leaf] or NOTHING for leaf in names), NOTHING)
        for parent, names in leaves.items()
    }
    return Fingerprint(
        tables=tables, partitioned=partitioned, sequences=sequences, large_objects=large_objects
    )


# --- differences --------------------------------------------------------------------------------


def compare(source: Fingerprint, restored: Fingerprint) -> list[str]:
    """All differences in words, none where the restored database equals its source."""
    return [
        *_compare_schema(source.schema, restored.schema),
        *_compare_tables("table", source.tables, restored.tables),
        *_compare_tables("partitioned table", source.partitioned, restored.partitioned),
        *_compare_sequences(source.sequences, restored.sequences),
        *_compare_large_objects(source.large_objects, restored.large_objects),
    ]


def _presence(what: str, source: Mapping[str, object], restored: Mapping[str, object]) -> list[str]:
    return [
        f"{what} {name} is missing from the restored database"
        for name in source
        if name not in restored
    ] + [
        f"{what} {name} is only in the restored database" for name in restored if name not in source
    ]


def _compare_tables(
    what: str,
    source: Mapping[str, TableMark | None],
    restored: Mapping[str, TableMark | None],
) -> list[str]:
    found = _presence(what, source, restored)
    for name in sorted(source.keys() & restored.keys()):
        a, b = source[name], restored[name]
        if a == b:
            continue
        if a is None or b is None:
            state = "not filled" if b is None else "filled"
            found.append(f"{what} {name} is {state} in the restored database, unlike its source")
        elif a.rows != b.rows:
            found.append(
                f"{what} {name} has {a.rows} rows in the source, {b.rows} in the restored database"
            )
        else:
            found.append(f"{what} {name} has {a.rows} rows on both sides, but other contents")
    return found


def _compare_sequences(source: Mapping[str, str], restored: Mapping[str, str]) -> list[str]:
    return _presence("sequence", source, restored) + [
        f"sequence {name} is at {source[name]} in the source, at {restored[name]} in the restored"
        " database"
        for name in sorted(source.keys() & restored.keys())
        if source[name] != restored[name]
    ]


def _compare_large_objects(
    source: Mapping[str, LargeObject], restored: Mapping[str, LargeObject]
) -> list[str]:
    found = _presence("large object", source, restored)
    for name in sorted(source.keys() & restored.keys()):
        a, b = source[name], restored[name]
        if a.size != b.size:
            found.append(
                f"large object {name} has {a.size} bytes in the source, {b.size} in the restored"
                " database"
            )
        elif a.hash != b.hash:
            found.append(f"large object {name} has {a.size} bytes on both sides, but not the same")
        pairs = (
            ("owner", a.owner, b.owner),
            ("grants", a.grants, b.grants),
            ("comment", a.comment, b.comment),
        )
        found.extend(
            f"large object {name} has the {part} {_plain(x)} in the source, {_plain(y)} in the"
            " restored database"
            for part, x, y in pairs
            if x != y
        )
    return found


def _plain(value: str | tuple[str, ...] | None) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _compare_schema(
    source: Mapping[str, tuple[str, ...]], restored: Mapping[str, tuple[str, ...]]
) -> list[str]:
    found = _presence("schema:", source, restored)
    for label in sorted(source.keys() & restored.keys()):
        if source[label] != restored[label]:
            detail = _line_differences(source[label], restored[label])
            found.append(f"schema: {label} differs: " + " | ".join(detail))
    return found


def _line_differences(source: Sequence[str], restored: Sequence[str]) -> list[str]:
    gone = [line for line in _minus(source, restored) if line]
    come = [line for line in _minus(restored, source) if line]
    detail = [f"only in the source: {line.strip()}" for line in gone]
    detail += [f"only in the restored database: {line.strip()}" for line in come]
    if not detail:
        return ["the same lines, ordered or spaced otherwise"]
    if len(detail) > DETAIL_LINES:
        detail[DETAIL_LINES:] = [f"and {len(detail) - DETAIL_LINES} more lines"]
    return detail


def _minus(a: Sequence[str], b: Sequence[str]) -> list[str]:
    rest = list(b)
    left = []
    for line in a:
        if line in rest:
            rest.remove(line)
        else:
            left.append(line)
    return left


# --- asking the servers -------------------------------------------------------------------------


def run(command: Sequence[str], tool: str, stdin: str, timeout: float) -> str:
    """Run psql or pg_dump and return its output, even where that is no valid UTF-8.

    Errors name the tool alone: the prefix, or a connection URI, may hold a password.
    """
    try:
        done = subprocess.run(
            list(command),
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise CompareError(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise CompareError(f"{tool} did not end within {timeout:.0f} s") from None
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()
        raise CompareError(f"{tool} failed with {done.returncode}: {reason}")
    return done.stdout.decode(errors="surrogateescape")


def fingerprint(
    prefix: Sequence[str], database: str, timeout: float = DEFAULT_TIMEOUT
) -> Fingerprint:
    """Take the fingerprint of one database through psql and pg_dump behind a command prefix."""
    started = time.monotonic()
    target = f"--dbname={database}"
    schema = run(
        [*prefix, "pg_dump", "--schema-only", "--encoding=UTF8", target], "pg_dump", "", timeout
    )
    contents = run(
        [*prefix, "psql", "--no-psqlrc", "--quiet", target, "--file=-"],
        "psql",
        FINGERPRINT_SQL,
        timeout,
    )
    return replace(
        parse_contents(contents),
        schema=normalise_schema(schema),
        seconds=time.monotonic() - started,
    )


def summary(source: Fingerprint, restored: Fingerprint) -> str:
    """A short table of what was looked at on both sides."""

    def cells(name: str, side: Fingerprint) -> tuple[str, ...]:
        return (
            name,
            str(len(side.tables) + len(side.partitioned)),
            str(side.rows),
            str(len(side.sequences)),
            str(len(side.large_objects)),
            str(side.large_object_bytes),
            str(len(side.schema)),
            str(side.schema_lines),
            f"{side.seconds:.1f}",
        )

    rows = [
        (
            "",
            "tables",
            "rows",
            "sequences",
            "large objects",
            "their bytes",
            "schema objects",
            "schema lines",
            "seconds",
        ),
        cells("source", source),
        cells("restored", restored),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def main(argv: Sequence[str] | None = None) -> int:
    """0 where both are equal, 1 where they differ, 2 where a side cannot be read."""
    parser = argparse.ArgumentParser(description="Compare a restored database with its source.")
    for side in ("source", "restored"):
        parser.add_argument(
            f"--{side}-prefix",
            default="",
            help="command before psql and pg_dump, e.g. 'kubectl exec -i pod -- env PGUSER=u'",
        )
        parser.add_argument(f"--{side}-db", required=True, help="database name or connection URI")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds a command")
    parser.add_argument(
        "--limit", type=int, default=DEFAULT_LIMIT, help="print at most so many differences"
    )
    args = parser.parse_args(argv)
    side = "source"
    try:
        source = fingerprint(shlex.split(args.source_prefix), args.source_db, args.timeout)
        side = "restored database"
        restored = fingerprint(shlex.split(args.restored_prefix), args.restored_db, args.timeout)
    except CompareError as error:
        print(f"compare: {side}: {error}", file=sys.stderr)
        return 2
    differences = compare(source, restored)
    print(summary(source, restored))
    for difference in differences[: args.limit]:
        print(f"- {difference}".encode(errors="backslashreplace").decode())
    if len(differences) > args.limit:
        print(f"- and {len(differences) - args.limit} more")
    print(f"{len(differences)} differences" if differences else "equal")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
