"""The command line's own wheel, against the whole repository's."""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def _project(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


WHOLE, OWN = _project(ROOT / "pyproject.toml"), _project(ROOT / "cli" / "pyproject.toml")


def test_it_needs_what_the_extra_names() -> None:
    extra = WHOLE["project"]["optional-dependencies"]["cli"]
    assert OWN["project"]["dependencies"] == extra


def test_it_has_the_same_scripts() -> None:
    own = OWN["project"]["scripts"]
    assert own.keys() == {"backupexport", "kubectl-backupexport"}
    assert own.items() <= WHOLE["project"]["scripts"].items()


def test_it_has_every_package_and_none_of_a_server() -> None:
    folders = (ROOT / "cli" / "backupexport_cli").rglob("__init__.py")
    found = {".".join(file.parent.relative_to(ROOT / "cli").parts) for file in folders}
    assert set(OWN["tool"]["setuptools"]["packages"]) == found | {"backupexport_contract"}
