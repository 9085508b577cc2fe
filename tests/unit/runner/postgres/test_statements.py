"""What the runner itself sends to a server leaves nothing open to a database's owner."""

import ast
import re
from pathlib import Path

import backupexport_runner
import pytest
from backupexport_runner.postgres import statements
from hostile_owner import QUERIES

_LITERAL = re.compile(r"'[^']*'")
# Words of SQL that may stand before a bracket and are no function
_SYNTAX = {
    "ALL", "AND", "ANY", "AS", "CAST", "COALESCE", "EXISTS", "LATERAL", "NOT", "OPERATOR", "OR",
    "OVER",
}  # fmt: skip
# What looks up an operator by its bare name, whatever is written.
_IMPLICIT = r"\b(?:IN|NULLIF|BETWEEN|LIKE|ILIKE|SIMILAR|DISTINCT|USING|NATURAL|CASE\s+[^W\s]\w*)\b"


def test_sql_has_one_home() -> None:
    sql = re.compile(
        r"\s*(?:SELECT|BEGIN|START|SET|WITH|INSERT|UPDATE|DELETE|CREATE|ALTER|COPY|SHOW|LOCK|DO|CALL"
        r"|EXECUTE|PREPARE|DECLARE|FETCH|TABLE|VALUES|EXPLAIN)\s"
    )
    package = Path(backupexport_runner.__file__).parent
    homes = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and sql.match(node.value)
    }
    assert homes == {"postgres/statements.py"}


@pytest.mark.parametrize("query", QUERIES)
def test_everything_in_a_query_names_its_schema(query: str) -> None:
    sql = _LITERAL.sub("''", QUERIES[query])
    assert not re.search(_IMPLICIT, sql)
    bare = re.sub(r"OPERATOR\(pg_catalog\.[^)]+\)", "", sql)
    assert not re.search(r"[=<>!~|+/%^&#@:-]", bare), bare
    called = re.findall(r'([\w."]+)\s*\(', bare)
    assert {name for name in called if name.upper() not in _SYNTAX} == {
        name for name in called if name.startswith("pg_catalog.")
    }
    read = re.findall(r"\b(?:FROM|JOIN(?! LATERAL))\s+([\w.]+)", bare)
    assert all(name.startswith("pg_catalog.") for name in read)
    assert read
    assert len(re.findall(r"\bCAST\b", bare)) == len(re.findall(r"\bAS pg_catalog\.", bare))


@pytest.mark.parametrize("query", QUERIES)
def test_the_path_is_empty_before_a_query(query: str) -> None:
    first, path, *rest = [part.strip() for part in statements.message(QUERIES[query]).split(";")]
    assert first.startswith("BEGIN ")
    assert path == "SET LOCAL search_path = ''"
    assert QUERIES[query].strip() in rest
    assert rest[-1] == "ROLLBACK"
