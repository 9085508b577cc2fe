"""Promises about the tree itself."""

import operator
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 500
PYTHON_FILES = [
    file
    for folder in ("api", "cli", "crds", "operator", "runner")
    for file in sorted((ROOT / folder).rglob("*.py"))
]


@pytest.mark.parametrize("file", PYTHON_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_grows_beyond_what_is_read_in_one_go(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_two_locks_have_no_version_that_differs() -> None:
    """What two images have in common is one thing, and what is tested is what is shipped."""
    versions: dict[str, set[str]] = {}
    for lock in (ROOT / "requirements").glob("*.txt"):
        # A pin, and the platforms that it is for.
        for name, version, marker in re.findall(
            r"^([\w.-]+)==(\S+)(.*?)\\?$", lock.read_text(encoding="utf-8"), re.MULTILINE
        ):
            versions.setdefault(name + marker.rstrip(), set()).add(version)
    assert "pydantic" in versions
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_operator_folder_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert Path(operator.__file__ or "").parent != ROOT / "operator"
    code = "import operator; assert operator.itemgetter, operator"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_runners_start_imports_nothing_slow() -> None:
    code = (
        "import sys, backupexport_runner.__main__;"
        "assert not {'httpx', 'jinja2', 'pydantic'} & sys.modules.keys()"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={"PYTHONPATH": f"{ROOT / 'runner'}:{ROOT / 'crds'}"},
    )
