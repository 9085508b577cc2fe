"""What happened in the run's namespace, as the API server's watches told it, gap by gap."""

import json
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Self

from backupexport_contract import names, runner_protocol
from playground.tools import STATE, ToolError, environment, kubectl

_AGAIN_SECONDS = 0.5
_STREAM_SECONDS = 120
_LIVE = ("Pending", "Running")

Told = Callable[[str, dict[str, Any]], None]


class Watch:
    """`told(type, object)` for all that happens under an API path until the context ends.

    It survives the API server: it goes on from the version that it saw last, so that what came
    and went meanwhile is told, too.
    """

    def __init__(self, path: str, told: Told) -> None:
        self._path = path
        self._told = told
        self._version: str | None = None
        self._known: dict[str, dict[str, Any]] = {}
        self._stream: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"watch {path}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        if self._stream is not None:
            self._stream.terminate()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                if self._version is None:
                    self._list()
                self._follow()
            except (ToolError, subprocess.TimeoutExpired, ValueError):
                # Away, or a line that was cut with its connection.
                pass
            self._stopped.wait(_AGAIN_SECONDS)

    def _list(self) -> None:
        found = json.loads(kubectl("get", "--raw", self._path, timeout=15))
        there = {item["metadata"]["uid"] for item in found["items"]}
        for gone in [item for uid, item in self._known.items() if uid not in there]:
            self._tell("DELETED", gone)
        for item in found["items"]:
            self._tell("ADDED", item)
        self._version = found["metadata"]["resourceVersion"]

    def _tell(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "DELETED":
            self._known.pop(item["metadata"]["uid"], None)
        else:
            self._known[item["metadata"]["uid"]] = item
        self._told(kind, item)

    def _follow(self) -> None:
        query = f"watch=1&resourceVersion={self._version}&timeoutSeconds={_STREAM_SECONDS}"
        with subprocess.Popen(
            [STATE / "bin" / "kubectl", "get", "--raw", f"{self._path}?{query}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        ) as stream:
            self._stream = stream
            try:
                if self._stopped.is_set():
                    return
                for line in stream.stdout or ():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        # Too old a version: only a new list helps.
                        self._version = None
                        return
                    self._tell(event["type"], event["object"])
                    self._version = event["object"]["metadata"]["resourceVersion"]
            finally:
                stream.terminate()


class Ledger:
    """What the promises about the whole run are judged by."""

    def __init__(self) -> None:
        self.jobs: dict[str, set[str]] = defaultdict(set)
        self.phases: dict[str, list[str]] = defaultdict(list)
        self.most_at_once: dict[str, list[str]] = defaultdict(list)
        self.pods: dict[str, set[str]] = defaultdict(set)
        self._live: dict[str, tuple[str, str]] = {}

    def told_job(self, kind: str, job: dict[str, Any]) -> None:
        """A Job came, changed or went."""
        if _is_export(job):
            self.jobs[_owner(job)].add(job["metadata"]["uid"])

    def told_export(self, kind: str, export: dict[str, Any]) -> None:
        """A BackupExport came, changed or went."""
        phase = export.get("status", {}).get("phase")
        phases = self.phases[export["metadata"]["name"]]
        if phase is not None and (not phases or phases[-1] != phase):
            phases.append(phase)

    def told_pod(self, kind: str, pod: dict[str, Any]) -> None:
        """A runner's pod came, changed or went."""
        if not _is_export(pod):
            return
        metadata = pod["metadata"]
        project = metadata["labels"].get(names.LABEL_PROJECT_HASH, "")
        self.pods[metadata["labels"].get(names.LABEL_JOB_ID, "")].add(metadata["uid"])
        self._live.pop(metadata["uid"], None)
        if kind != "DELETED" and _is_live(pod):
            self._live[metadata["uid"]] = (project, metadata["name"])
            at_once = [name for of, name in self._live.values() if of == project]
            self.most_at_once[project] = max(self.most_at_once[project], at_once, key=len)


def _is_live(pod: dict[str, Any]) -> bool:
    """Whether it works or is going to; the kubelet tells a container's end before the pod's."""
    states = [each.get("state", {}) for each in pod["status"].get("containerStatuses", [])]
    return pod["status"]["phase"] in _LIVE and not any("terminated" in state for state in states)


def _is_export(thing: dict[str, Any]) -> bool:
    labels = thing["metadata"].get("labels", {})
    task = labels.get(names.LABEL_TASK, runner_protocol.TASK_EXPORT)
    return bool(names.LABEL_EXPORT_UID in labels and task == runner_protocol.TASK_EXPORT)


def _owner(job: dict[str, Any]) -> str:
    owners = job["metadata"].get("ownerReferences", [])
    return next((owner["name"] for owner in owners if owner["kind"] == names.EXPORT_KIND), "nobody")
