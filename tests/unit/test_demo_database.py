"""The comparison of a restored database with its source, without any server."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

DATABASE = Path(__file__).resolve().parents[2] / "demo" / "database"


def _load() -> ModuleType:
    # A script of the demo, not a module of the package: there is no name to import it by.
    spec = importlib.util.spec_from_file_location("demo_database_compare", DATABASE / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


compare: Any = _load()

DUMP = r"""--
-- PostgreSQL database dump
--

\restrict 5Gm3HzqT1bA

-- Dumped from database version 17.5 (Debian 17.5-1)
-- Dumped by pg_dump version 17.5 (Debian 17.5-1)

SET statement_timeout = 0;
SET client_encoding = 'UTF8';

--
-- Name: shop; Type: SCHEMA; Schema: -; Owner: shop_owner
--

CREATE SCHEMA shop;


ALTER SCHEMA shop OWNER TO shop_owner;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: goods; Type: TABLE; Schema: shop; Owner: shop_owner
--

CREATE TABLE shop.goods (
    sku text NOT NULL,
    price numeric(12,2)
);


ALTER TABLE shop.goods OWNER TO shop_owner;

--
-- Name: goods_price_idx; Type: INDEX; Schema: shop; Owner: shop_owner
--

CREATE INDEX goods_price_idx ON shop.goods USING btree (price);


--
-- Name: TABLE goods; Type: ACL; Schema: shop; Owner: shop_owner
--

GRANT SELECT ON TABLE shop.goods TO shop_app;
GRANT SELECT ON TABLE shop.goods TO auditor;


--
-- PostgreSQL database dump complete
--

\unrestrict 5Gm3HzqT1bA

"""

INDEX = """--
-- Name: goods_price_idx; Type: INDEX; Schema: shop; Owner: shop_owner
--

CREATE INDEX goods_price_idx ON shop.goods USING btree (price);


"""

TABLE_LINE = {"is": "table", "name": "shop.goods", "rows": 3, "hashes": ["-12", "900"]}


def side(**changes: Any) -> Any:
    lo = compare.LargeObject(10, "aa", "shop_owner", ("exporter=r/shop_owner",), "scan")
    base = compare.Fingerprint(
        tables={
            "shop.goods": compare.TableMark(3, (5, 6)),
            "shop.report": compare.TableMark(1, (1, 1)),
            "shop.unfilled": None,
        },
        partitioned={"shop.orders": compare.TableMark(9, (7, 8))},
        sequences={"shop.goods_id_seq": "7, used"},
        large_objects={"900001": lo},
        schema=compare.normalise_schema(DUMP),
    )
    return replace(base, **changes)


def with_table(name: str, mark: Any) -> Any:
    return side(tables={**side().tables, name: mark})


def with_large_object(**changes: Any) -> Any:
    return side(large_objects={"900001": replace(side().large_objects["900001"], **changes)})


def with_dump(old: str, new: str) -> Any:
    assert old in DUMP
    return side(schema=compare.normalise_schema(DUMP.replace(old, new)))


def test_equal_sides_have_no_differences() -> None:
    assert compare.compare(side(), side()) == []
    assert compare.compare(side(seconds=1.0), side(seconds=2.0)) == []


@pytest.mark.parametrize(
    ("restored", "words"),
    [
        pytest.param(
            with_table("shop.goods", compare.TableMark(2, (1, 2))),
            ["table shop.goods has 3 rows in the source, 2 in the restored database"],
            id="missing row",
        ),
        pytest.param(
            with_table("shop.goods", compare.TableMark(3, (5, 7))),
            ["table shop.goods has 3 rows on both sides, but other contents"],
            id="changed byte, seen by one hash alone",
        ),
        pytest.param(
            with_table("shop.more", compare.TableMark(0, (0, 0))),
            ["table shop.more is only in the restored database"],
            id="surplus table",
        ),
        pytest.param(
            side(tables={k: v for k, v in side().tables.items() if k != "shop.unfilled"}),
            ["table shop.unfilled is missing from the restored database"],
            id="missing unfilled view",
        ),
        pytest.param(
            with_table("shop.unfilled", compare.TableMark(0, (0, 0))),
            ["table shop.unfilled is filled in the restored database, unlike its source"],
            id="filled view",
        ),
        pytest.param(
            with_table("shop.report", None),
            ["table shop.report is not filled in the restored database, unlike its source"],
            id="unfilled view",
        ),
        pytest.param(
            side(partitioned={"shop.orders": compare.TableMark(8, (7, 8))}),
            ["partitioned table shop.orders has 9 rows in the source, 8 in the restored database"],
            id="missing row below a partitioned table",
        ),
        pytest.param(
            side(sequences={"shop.goods_id_seq": "7, not used yet"}),
            [
                "sequence shop.goods_id_seq is at 7, used in the source, at 7, not used yet in the"
                " restored database"
            ],
            id="sequence",
        ),
        pytest.param(
            side(large_objects={}),
            ["large object 900001 is missing from the restored database"],
            id="missing large object",
        ),
        pytest.param(
            with_large_object(hash="ab"),
            ["large object 900001 has 10 bytes on both sides, but not the same"],
            id="changed byte of a large object",
        ),
        pytest.param(
            with_large_object(size=11, hash="ab"),
            ["large object 900001 has 10 bytes in the source, 11 in the restored database"],
            id="longer large object",
        ),
        pytest.param(
            with_large_object(owner="postgres"),
            [
                "large object 900001 has the owner shop_owner in the source, postgres in the"
                " restored database"
            ],
            id="owner of a large object",
        ),
        pytest.param(
            with_large_object(grants=(), comment=None),
            [
                "large object 900001 has the grants exporter=r/shop_owner in the source, none in"
                " the restored database",
                "large object 900001 has the comment scan in the source, none in the restored"
                " database",
            ],
            id="grants and comment of a large object",
        ),
        pytest.param(
            with_dump(INDEX, ""),
            ["schema: INDEX shop.goods_price_idx is missing from the restored database"],
            id="missing index",
        ),
        pytest.param(
            with_dump("GRANT SELECT ON TABLE shop.goods TO auditor;\n", ""),
            [
                "schema: ACL shop.TABLE goods differs: only in the source:"
                " GRANT SELECT ON TABLE shop.goods TO auditor;"
            ],
            id="missing grant",
        ),
        pytest.param(
            with_dump("numeric(12,2)", "numeric(12,3)"),
            [
                "schema: TABLE shop.goods differs: only in the source: price numeric(12,2) |"
                " only in the restored database: price numeric(12,3)"
            ],
            id="other column type",
        ),
        pytest.param(
            with_dump("ALTER TABLE shop.goods OWNER TO shop_owner;\n", ""),
            [
                "schema: TABLE shop.goods differs: only in the source:"
                " ALTER TABLE shop.goods OWNER TO shop_owner;"
            ],
            id="lost owner",
        ),
        pytest.param(
            with_dump("SET default_tablespace = '';", "SET default_tablespace = fast;"),
            [
                "schema: INDEX shop.goods_price_idx differs: only in the restored database:"
                " -- default_tablespace = fast",
                "schema: TABLE shop.goods differs: only in the restored database:"
                " -- default_tablespace = fast",
            ],
            id="other tablespace",
        ),
    ],
)
def test_differences_are_told_in_words(restored: Any, words: list[str]) -> None:
    found = compare.compare(side(), restored)
    assert found == words
    assert len(compare.compare(restored, side())) == len(words)


def test_schema_is_cut_into_objects() -> None:
    assert compare.normalise_schema(DUMP) == {
        "SCHEMA shop": ("CREATE SCHEMA shop;", "", "", "ALTER SCHEMA shop OWNER TO shop_owner;"),
        "TABLE shop.goods": (
            "CREATE TABLE shop.goods (",
            "    sku text NOT NULL,",
            "    price numeric(12,2)",
            ");",
            "",
            "",
            "ALTER TABLE shop.goods OWNER TO shop_owner;",
        ),
        "INDEX shop.goods_price_idx": (
            "CREATE INDEX goods_price_idx ON shop.goods USING btree (price);",
        ),
        "ACL shop.TABLE goods": (
            "GRANT SELECT ON TABLE shop.goods TO auditor;",
            "GRANT SELECT ON TABLE shop.goods TO shop_app;",
        ),
    }


def _swap_grants(text: str) -> str:
    a = "GRANT SELECT ON TABLE shop.goods TO shop_app;\n"
    b = "GRANT SELECT ON TABLE shop.goods TO auditor;\n"
    return text.replace(a + b, b + a)


def _move_index(text: str) -> str:
    before = "--\n-- Name: goods; Type: TABLE;"
    return text.replace(INDEX, "").replace(before, INDEX + before)


def _no_restrict(text: str) -> str:
    return re.sub(r"\\(un)?restrict .*\n", "", text)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace("5Gm3HzqT1bA", "zzz"), id="random token"),
        pytest.param(_no_restrict, id="no token"),
        pytest.param(lambda text: text.replace("17.5", "17.9"), id="versions"),
        pytest.param(_swap_grants, id="order of grants"),
        pytest.param(_move_index, id="order of objects"),
        pytest.param(lambda text: text.replace("timeout = 0", "timeout = 9"), id="preamble"),
    ],
)
def test_noise_in_a_schema_is_ignored(change: Callable[[str], str]) -> None:
    assert change(DUMP) != DUMP
    assert compare.normalise_schema(change(DUMP)) == compare.normalise_schema(DUMP)


def test_grants_made_in_the_name_of_another_role_keep_their_order() -> None:
    grants = (
        "SET SESSION AUTHORIZATION auditor;",
        "GRANT SELECT ON TABLE shop.goods TO shop_app;",
        "RESET SESSION AUTHORIZATION;",
        "GRANT SELECT ON TABLE shop.goods TO auditor;",
    )
    header = "--\n-- Name: TABLE goods; Type: ACL; Schema: shop; Owner: shop_owner\n--\n\n"
    found = compare.normalise_schema(header + "\n".join(grants) + "\n\n")
    assert found == {"ACL shop.TABLE goods": grants}
    swapped = compare.normalise_schema(header + "\n".join(reversed(grants)) + "\n\n")
    assert compare.compare(side(schema=found), side(schema=swapped)) == [
        "schema: ACL shop.TABLE goods differs: the same lines, ordered or spaced otherwise"
    ]


def test_objects_with_one_label_all_count() -> None:
    twice = compare.normalise_schema(INDEX + INDEX)
    once = compare.normalise_schema(INDEX)
    assert list(twice) == list(once)
    assert len(compare.compare(side(schema=twice), side(schema=once))) == 1


def test_only_line_feeds_end_a_line() -> None:
    text = INDEX.replace("(price)", "(price) WHERE note <> '\u2028--\x0b--\x0c'")
    (lines,) = compare.normalise_schema(text).values()
    assert len(lines) == 1


def test_many_changed_lines_are_cut_short() -> None:
    body = "".join(f"line {n}\n" for n in range(100))
    a = compare.normalise_schema(INDEX + body)
    b = compare.normalise_schema(INDEX)
    (words,) = compare.compare(side(schema=a), side(schema=b))
    assert words.endswith(" more lines")
    assert len(words) < 500


def test_contents_are_parsed() -> None:
    found = compare.parse_contents(
        "\n".join(
            json.dumps(item)
            for item in (
                TABLE_LINE,
                {**TABLE_LINE, "name": "shop.goods_new", "rows": 1, "hashes": ["2", "100"]},
                {
                    "is": "partitioned",
                    "name": "shop.all",
                    "leaves": ["shop.goods_new", "shop.goods"],
                },
                {"is": "partitioned", "name": "shop.none", "leaves": []},
                {"is": "unpopulated", "name": "shop.report"},
                {"is": "sequence", "name": "s.q", "last_value": "-7", "is_called": True},
                {
                    "is": "large object",
                    "name": "16400",
                    "bytes": 0,
                    "hash": "e3",
                    "owner": 'a "b"\n',
                    "grants": ["x=r/y"],
                    "comment": None,
                },
            )
        )
        + "\n\n"
    )
    assert found.tables == {
        "shop.goods": compare.TableMark(3, (-12, 900)),
        "shop.goods_new": compare.TableMark(1, (2, 100)),
        "shop.report": None,
    }
    assert found.partitioned == {
        "shop.all": compare.TableMark(4, (-10, 1000)),
        "shop.none": compare.TableMark(0, (0, 0)),
    }
    assert found.sequences == {"s.q": "-7, used"}
    assert found.large_objects == {"16400": compare.LargeObject(0, "e3", 'a "b"\n', ("x=r/y",))}
    assert found.rows == 4


@pytest.mark.parametrize("line", ["SET", "[]", "{}", '{"is": "riddle", "name": "x"}', "3", '"a"'])
def test_unexpected_output_is_an_error(line: str) -> None:
    with pytest.raises(compare.CompareError, match="unexpected"):
        compare.parse_contents(line)


def test_summary_shows_both_sides() -> None:
    head, source, restored = compare.summary(side(), with_large_object(size=99)).split("\n")
    assert head.split()[:3] == ["tables", "rows", "sequences"]
    assert source.split() == ["source", "4", "4", "1", "1", "10", "4", "14", "0.0"]
    assert restored.split() == ["restored", "4", "4", "1", "1", "99", "4", "14", "0.0"]


STUB = """\
import json, sys
tool, db = sys.argv[1], [a for a in sys.argv if a.startswith("--dbname=")][0][9:]
if db == "gone":
    sys.exit("no such database")
if tool == "psql":
    assert "row_security = off" in sys.stdin.read()
    rows = 3 if db == "demo" else 2
    print(json.dumps({"is": "table", "name": "t", "rows": rows, "hashes": ["1", "2"]}))
"""


@pytest.mark.parametrize(
    ("restored", "code", "words"),
    [
        ("demo", 0, "equal"),
        ("copy", 1, "- table t has 3 rows in the source, 2 in the restored database"),
        ("gone", 2, "compare: restored database: pg_dump failed with 1: no such database"),
    ],
)
def test_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], restored: str, code: int, words: str
) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    prefix = f"'{sys.executable}' '{stub}'"
    argv = ["--source-prefix", prefix, "--source-db", "demo"]
    argv += ["--restored-prefix", prefix, "--restored-db", restored]
    assert compare.main(argv) == code
    output = capsys.readouterr()
    assert words in (output.out + output.err).split("\n")


def test_errors_do_not_show_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--source-prefix", "env PGPASSWORD=secret false", "--source-db", "u:secret@h"]
    assert compare.main([*argv, "--restored-db", "x"]) == 2
    assert "secret" not in capsys.readouterr().err


def test_missing_programs_are_an_error() -> None:
    with pytest.raises(compare.CompareError, match="cannot run /nowhere/kubectl"):
        compare.fingerprint(["/nowhere/kubectl"], "demo")


def test_a_hanging_side_is_an_error() -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(compare.CompareError, match="did not end"):
        compare.fingerprint(sleeper, "demo", timeout=0.2)


def test_files_load_in_the_order_of_their_names() -> None:
    names = sorted(path.name for path in DATABASE.glob("*.sql"))
    assert [name[:3] for name in names] == ["10_", "20_", "30_", "40_", "50_", "60_", "70_"]


@pytest.mark.parametrize("path", sorted(DATABASE.glob("*.sql")), ids=lambda path: path.name)
def test_loading_is_deterministic(path: Path) -> None:
    text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
    assert not re.search(
        r"\b(random|now|clock_timestamp|gen_random_uuid)\(|CURRENT_(DATE|TIME)", text
    )
