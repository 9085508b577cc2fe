"""What the docs name exists: the reference, links, chart values, fields, commands."""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generate_reference
import pytest
import yaml
from backupexport_contract.reasons import DeliveryReason, ExitCode, Reason

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "backupexport"
# About the code, where a dotted name is a module.
ABOUT_CODE = ("architecture.md", "decisions.md", "reference.md")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
USER_PAGES = [page for page in [*PAGES, CHART / "README.md"] if page.name not in ABOUT_CODE]
MOST_LINES_OF_README = 150

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_DOTTED = re.compile(r"[a-z][A-Za-z0-9]*(?:\.[A-Za-z0-9]+)+")
_FILE_ENDINGS = (
    ".md",
    ".py",
    ".yaml",
    ".toml",
    ".sql",
    ".env",
    ".txt",
    ".js",
    ".com",
    ".crt",
    ".key",
)


def each(pages: list[Path]) -> pytest.MarkDecorator:
    """One case for each page, under its path."""
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_reference_is_fresh() -> None:
    assert generate_reference.FILE.read_text(encoding="utf-8") == generate_reference.text(), (
        "run `make docs`"
    )


def test_a_default_is_written_as_in_the_environment() -> None:
    (line,) = [
        x for x in generate_reference.text().splitlines() if "`BACKUPEXPORT_DELIVERIES`" in x
    ]
    assert line.split(" | ")[1] == "`{}`"


def test_a_default_that_is_made_anew_each_time_is_not_shown() -> None:
    lines = [x for x in generate_reference.text().splitlines() if "`BACKUPEXPORT_LOG_FORMAT`" in x]
    assert lines[0].split(" | ")[1] == ""


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES_OF_README, "move what is not for everyone to docs/"


@each(PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    dead = [link for link in links(page) if not leads_somewhere(page, link)]
    assert not dead


@each(USER_PAGES)
def test_dotted_names_are_chart_values_or_fields(page: Path) -> None:
    names = {
        name
        for span in code_spans(page)
        if _DOTTED.fullmatch(name := span.partition("=")[0]) and not name.endswith(_FILE_ENDINGS)
    }
    # Of a list its own name: `ingress.tls[0].hosts`.
    names |= set(re.findall(r"--set '?([\w.]+)[\[=]", text_of(page)))
    assert {name for name in names if not (is_chart_value(name) or is_field(name))} == set()


@each(PAGES)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(make_targets(page)) <= targets


@each(USER_PAGES)
def test_metrics_exist(page: Path) -> None:
    sources = [file for part in ("api", "operator") for file in (ROOT / part).rglob("*.py")]
    code = "\n".join(file.read_text(encoding="utf-8") for file in sources)
    named = {span for span in code_spans(page) if re.fullmatch(r"backupexport_\w+", span)}
    assert {name for name in named if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("reason", [*Reason, *DeliveryReason, *map(int, ExitCode)])
def test_the_reference_explains_every_reason_and_exit_code(reason: str | int) -> None:
    shown = f"`{reason}`" if isinstance(reason, str) else str(reason)
    assert re.search(rf"^\| {shown} \| \S.* \|$", generate_reference.text(), re.MULTILINE)


def test_the_tests_that_the_threat_model_names_are_there() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:unit|cluster|component)/[\w./]+)`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """The page without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def code_spans(page: Path) -> list[str]:
    """What stands in backticks in the prose."""
    return re.findall(r"`([^`\n]+)`", prose_of(page))


def links(page: Path) -> list[str]:
    """Targets of links that stay in the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose_of(page))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether the link's file is there and, where it names an anchor, has such a heading."""
    path, _, anchor = link.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(page: Path) -> set[str]:
    """The headings' ids, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def make_targets(page: Path) -> Iterator[str]:
    """What comes behind `make` in code: targets until a comment, without settings."""
    blocks = "\n".join(_FENCE.findall(text_of(page))).splitlines()
    for line in [*blocks, *code_spans(page)]:
        if line.startswith("make "):
            words = line.partition("#")[0].split()[1:]
            yield from (word for word in words if "=" not in word)


@functools.cache
def parsed(file: Path) -> Any:
    """The document in a file of YAML or JSON."""
    text = file.read_text(encoding="utf-8")
    return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)


def is_chart_value(name: str) -> bool:
    """Whether values.yaml has it or, below a value that is empty there, the schema."""
    value = parsed(CHART / "values.yaml")
    schema = whole = parsed(CHART / "values.schema.json")
    for part in name.split("."):
        schema = _property(whole, schema, part)
        if schema is None or (value and part not in value):
            return False
        value = value[part] if value else None
    return True


def _property(whole: dict[str, Any], schema: dict[str, Any], name: str) -> Any:
    if "$ref" in schema:
        schema = whole["definitions"][schema["$ref"].removeprefix("#/definitions/")]
    return schema.get("properties", {}).get(name)


def is_field(name: str) -> bool:
    """Whether one of the custom resources has it."""
    if name.startswith("metadata."):
        return True
    for file in (ROOT / "crds").glob("*.yaml"):
        node = parsed(file)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in name.split("."):
            node = node.get("properties", {}).get(part, {})
        if node:
            return True
    return False
