"""What docs/robustness.md says of planted bugs: the tests that it names are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "robustness.md"
LEAST_BUGS = 12


def planted_bugs() -> list[str]:
    """The rows of the page's last table."""
    table = PAGE.read_text(encoding="utf-8").partition("## Planted bugs")[2]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def test_there_are_twelve_at_least_and_each_is_named_by_a_test() -> None:
    rows = [row for row in planted_bugs() if not row.startswith("| ---")]
    assert len(rows) >= LEAST_BUGS
    assert [row for row in rows if not _tests_in(row)] == []


def test_the_tests_that_name_them_are_there() -> None:
    named = {test for row in planted_bugs() for test in _tests_in(row)}
    assert {test for test in named if not _is_there(*test)} == set()


def _tests_in(row: str) -> list[tuple[str, str]]:
    return re.findall(r"`([\w./]+\.py)::(\w+)`", row)


def _is_there(path: str, name: str) -> bool:
    file = ROOT / "tests" / path
    if not file.exists():
        return False
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, functions) and node.name == name for node in tree.body)
