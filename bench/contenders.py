"""Who makes Jobs of exports: the operator, and a bare kopf handler."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export_field import ExportField, export_of
from playground.processes import running
from playground.tools import ROOT
from processors import cpu_seconds

_SET_BY_THE_SERVER = {
    "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "annotations",
}  # fmt: skip
_SET_BY_THE_CONTROLLER = {"controller-uid", "job-name"}


@dataclass(frozen=True)
class Contender:
    """A process that serves the exports of a field."""

    name: str
    field: ExportField
    pid: int

    def cpu(self) -> float:
        """The processor time that it has used so far, in seconds."""
        return cpu_seconds(self.pid)


@contextmanager
def bare_operator(field: ExportField, job: dict[str, Any], folder: Path) -> Iterator[Contender]:
    """A bare kopf handler that makes Jobs like `job`."""
    file = folder / "job.json"
    file.write_text(json.dumps(as_template(job)), encoding="utf-8")
    command = [str(ROOT / "bench" / "bare_operator.py"), field.namespace, str(file)]
    with running(*command, settings={}, log=folder / "bare.log") as process:
        yield Contender("bare", field, process.pid)


def as_template(job: dict[str, Any]) -> dict[str, Any]:
    """A Job as it was before the API server filled it in, and whose it was."""
    metadata = {
        key: value for key, value in job["metadata"].items() if key not in _SET_BY_THE_SERVER
    }
    spec = {key: value for key, value in job["spec"].items() if key != "selector"}
    pod = spec["template"]
    labels = _own(metadata["labels"])
    return {
        "export": {"name": export_of(job), "uid": metadata["ownerReferences"][0]["uid"]},
        "job": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata | {"namespace": None, "labels": labels},
            "spec": spec
            | {"template": pod | {"metadata": {"labels": _own(pod["metadata"]["labels"])}}},
        },
    }


def _own(labels: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in labels.items()
        if key.rpartition("/")[2] not in _SET_BY_THE_CONTROLLER
    }
