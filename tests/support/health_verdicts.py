"""What kstatus, Argo CD and Flux make of resources: with our docs' checks, by their evaluators."""

import functools
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from local_cluster.build import COMPILER_FLAGS
from local_cluster.decide import GoVersion, parse_go_version
from local_cluster.inputs import content_hash
from local_cluster.layout import cache_directory
from local_cluster.locking import turn
from local_cluster.packages import find_go
from local_cluster.progress import run

ARGO = Path(__file__).parents[2] / "docs" / "gitops" / "argocd-cm.yaml"
FLUX = ARGO.with_name("flux-kustomization.yaml")
_SOURCES = Path(__file__).with_name("health_checks")
_ARGO_KEY = "resource.customizations.health.backupexport.dev_"


@dataclass(frozen=True)
class Verdict:
    """What each says of one resource; `flux` is empty where its expression can't be evaluated."""

    kstatus: str
    argo: str
    flux: str
    kstatus_message: str
    argo_message: str
    flux_error: str


def verdicts(resources: Iterable[dict[str, Any]]) -> list[Verdict]:
    """One for each manifest, in their order."""
    question = {"argo": _argo_scripts(), "flux": _flux_expressions(), "resources": list(resources)}
    answer = subprocess.run(
        [_program()], input=json.dumps(question), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return [
        Verdict(
            each["kstatus"], each["argo"], each["flux"],
            each["kstatusMessage"], each["argoMessage"], each["fluxError"],
        )
        for each in json.loads(answer.stdout)
    ]  # fmt: skip


def _argo_scripts() -> dict[str, str]:
    data = yaml.safe_load(ARGO.read_text())["data"]
    return {key.removeprefix(_ARGO_KEY): script for key, script in data.items()}


def _flux_expressions() -> dict[str, dict[str, str]]:
    checks = yaml.safe_load(FLUX.read_text())["spec"]["healthCheckExprs"]
    fields = ("current", "failed", "inProgress")
    return {check["kind"]: {f: check[f] for f in fields if f in check} for check in checks}


@functools.cache
def _program() -> Path:
    """Built once for each state of its sources: where nothing of it is there, it takes minutes."""
    cache, flags = cache_directory(), (*COMPILER_FLAGS, "-ldflags=-s -w")
    program = cache / f"health-checks-{content_hash(_SOURCES, [_SOURCES], *flags)}"
    with turn(cache / "health-checks.lock", "build of the health checks"):
        if not program.exists():
            logs = cache / "logs"
            needed = parse_go_version((_SOURCES / "go.mod").read_text().partition("\ngo ")[2])
            draft = program.with_suffix(".draft")
            run(
                "building the health checks (Go; kept for later runs)",
                [find_go(needed or GoVersion(1, 24), logs), "build", *flags, "-o", draft, "."],
                logs / "go-build-health-checks.log",
                env={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"},
                cwd=_SOURCES,
            )
            draft.replace(program)
    return program
