"""What is fetched from others is named by its contents, not by a name that they can move."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
DIGEST = r"sha256:[0-9a-f]{64}"


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action


def test_there_are_workflows_for_tests_and_for_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yaml", "release.yaml"]


def test_no_workflow_may_write_to_the_repository() -> None:
    for workflow in WORKFLOWS:
        permissions = yaml.safe_load(workflow.read_text(encoding="utf-8"))["permissions"]
        assert permissions.pop("contents") == "read"
        assert set(permissions) <= {"id-token"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_what_workflows_run_in_containers_is_pinned_by_digest(workflow: Path) -> None:
    given = yaml.safe_load(workflow.read_text(encoding="utf-8")).get("env", {})
    for step in steps(workflow):
        script = step.get("run", "")
        for name, value in given.items():
            script = script.replace(f"${name}", str(value))
        # BuildKit's own image, and that of its scanner, are the newest unless they are named.
        named = [
            *re.findall(r"docker (?:run|pull) .*", script),
            *re.findall(r"buildx create .*", script),
            *re.findall(r"--sbom\S*", script),
        ]
        for line in named:
            assert re.search(rf"@{DIGEST}", line), line


def test_base_images_are_pinned_by_digest() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (base,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(rf"\S+:[\w.-]+@{DIGEST}", base)
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", dockerfile, re.MULTILINE)
    built: set[str] = set()
    for source, stage in stages:
        assert source == "${BASE_IMAGE}" or source in built, source
        built.add(stage)


def test_valkeys_image_is_pinned_by_digest() -> None:
    text = (ROOT / "charts/backupexport/values.yaml").read_text(encoding="utf-8")
    assert re.fullmatch(DIGEST, yaml.safe_load(text)["valkey"]["image"]["digest"])


@pytest.mark.parametrize(
    "lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_packages_are_pinned_by_hash(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[\w.\[\]-]+==\S+ ", line), line
        assert "--hash=sha256:" in line, line
