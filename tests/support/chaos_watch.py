"""What happened in the run's namespace, as the API server's watches told it, gap by gap."""

import json
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import Any, Self

from backupexport_contract import names, runner_protocol, timestamps
from backupexport_contract.reasons import ExitCode
from chaos_pods import PodRun, moment, node_moment
from chaos_verdict import Artifact, Export, Gone
from playground.tools import STATE, NeverHappenedError, ToolError, environment, kubectl

_AGAIN_SECONDS = 0.5
_STREAM_SECONDS = 120
_FULL = (ExitCode.STORAGE_FULL, ExitCode.STORAGE_RESERVED)
_KILLED = (ExitCode.KILLED, ExitCode.INTERRUPTED)

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
        # How often the API server was not there, or went.
        self.cuts = 0
        self._stream: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()
        self._has_listed = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"watch {path}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def wait(self) -> None:
        """Returns when it knows what was there at first; what goes before that is never told."""
        if not self._has_listed.wait(120):
            raise NeverHappenedError(f"no list of {self._path}")

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
                self.cuts += not self._stopped.is_set()
            self._stopped.wait(_AGAIN_SECONDS)

    def _list(self) -> None:
        found = json.loads(kubectl("get", "--raw", self._path, timeout=15))
        there = {item["metadata"]["uid"] for item in found["items"]}
        for gone in [item for uid, item in self._known.items() if uid not in there]:
            self._tell("DELETED", gone)
        for item in found["items"]:
            self._tell("ADDED", item)
        self._version = found["metadata"]["resourceVersion"]
        self._has_listed.set()

    def _tell(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "DELETED":
            self._known.pop(item["metadata"]["uid"], None)
        else:
            self._known[item["metadata"]["uid"]] = item
        self._told(kind, item)

    def _follow(self) -> None:
        began = time.monotonic()
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
                if time.monotonic() - began < _STREAM_SECONDS - 1:
                    self.cuts += not self._stopped.is_set()
            finally:
                stream.terminate()


class Ledger:
    """What the promises about the whole run are judged by; `clock` is seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.began = clock()
        self.jobs: dict[str, set[str]] = defaultdict(set)
        self.phases: dict[str, list[str]] = defaultdict(list)
        self.last: dict[str, Export] = {}
        self.gone: dict[str, Gone] = {}
        self.accepted_with: dict[str, int | None] = {}
        self.reasons_told: Counter[str] = Counter()
        self.leaders: list[str] = []
        self.jobs_gone: set[str] = set()
        self.targets_gone: set[str] = set()
        self.targets_suspended: set[str] = set()
        self._changes: list[float] = []
        self._runs: dict[str, PodRun] = {}
        self._runners_gone: set[str] = set()
        self._parts_gone: dict[str, set[str]] = defaultdict(set)
        self._restarts: dict[str, dict[str, int]] = defaultdict(dict)

    @property
    def runs(self) -> list[PodRun]:
        """All runners' pods that there have been."""
        return list(self._runs.values())

    def pods(self, export: str) -> list[PodRun]:
        """The export's attempts."""
        return [run for run in self.runs if (run.export, run.task) == (export, "export")]

    def parts_gone(self, part: str) -> int:
        """How many pods of a part of the installation are gone."""
        return len(self._parts_gone[part])

    def restarts(self, part: str) -> int:
        """How many containers of the part were started again in the pods that there have been."""
        return sum(self._restarts[part].values())

    def runners_lost(self, struck: Collection[str]) -> int:
        """How many of these runners' pods are gone, or were killed; by uid."""
        killed = {uid for uid, run in self._runs.items() if run.exit_code in _KILLED}
        return len((killed | self._runners_gone) & set(struck))

    def exports_of(self, pods: Collection[str]) -> set[str]:
        """The exports whose attempts these pods are; by uid."""
        return {run.export for uid, run in self._runs.items() if uid in pods}

    def leader_pod(self) -> str | None:
        """The pod that holds the Lease, None where nobody has held it."""
        return self.leaders[-1].rpartition("_")[0] if self.leaders else None

    def full_volumes(self) -> int:
        """How many runners and statuses have told that the volume is full."""
        told = sum(1 for run in self.runs if run.exit_code in _FULL)
        return told + self.reasons_told["StorageFull"]

    def changes_between(self, began: float, ended: float) -> int:
        """How many changes of exports, targets and Jobs were told in a time."""
        return sum(1 for at in self._changes if began <= at <= ended)

    def told_job(self, kind: str, job: dict[str, Any]) -> None:
        """A Job came, changed or went."""
        self._changes.append(self._clock())
        if kind == "DELETED":
            self.jobs_gone.add(job["metadata"]["uid"])
        if _is_export(job):
            self.jobs[_owner(job)].add(job["metadata"]["uid"])

    def told_export(self, kind: str, item: dict[str, Any]) -> None:
        """A BackupExport came, changed or went."""
        self._changes.append(self._clock())
        name, status = item["metadata"]["name"], item.get("status", {})
        export = self.last[name] = read_export(item, self.began)
        phase, phases = status.get("phase"), self.phases[name]
        if phase is not None and (not phases or phases[-1] != phase):
            phases.append(phase)
        if export.reason is not None:
            self.reasons_told[export.reason] += 1
        if status.get("jobName"):
            self.accepted_with.setdefault(name, status.get("retentionSeconds"))
        if kind == "DELETED":
            self.gone[name] = Gone(export, self._clock())
        else:
            # Made once more by its key.
            self.gone.pop(name, None)

    def told_target(self, kind: str, target: dict[str, Any]) -> None:
        """An ExportTarget came, changed or went."""
        self._changes.append(self._clock())
        if kind == "DELETED":
            self.targets_gone.add(target["metadata"]["uid"])
        elif target["spec"].get("suspend"):
            self.targets_suspended.add(target["metadata"]["uid"])

    def told_lease(self, kind: str, lease: dict[str, Any]) -> None:
        """The Lease came, changed or went."""
        holder = (lease.get("spec") or {}).get("holderIdentity")
        if holder and (not self.leaders or self.leaders[-1] != holder):
            self.leaders.append(holder)

    def told_pod(self, kind: str, pod: dict[str, Any]) -> None:
        """A pod came, changed or went."""
        metadata = pod["metadata"]
        labels, uid = metadata.get("labels", {}), metadata["uid"]
        if names.LABEL_EXPORT_UID in labels:
            self._runs[uid] = self._run(pod)
            if kind == "DELETED":
                self._runners_gone.add(uid)
            return
        part = labels.get("app.kubernetes.io/component") or labels.get("app.kubernetes.io/name", "")
        statuses = pod["status"].get("containerStatuses", [])
        if statuses:
            self._restarts[part][uid] = sum(each.get("restartCount", 0) for each in statuses)
        if kind == "DELETED":
            self._parts_gone[part].add(uid)

    def _run(self, pod: dict[str, Any]) -> PodRun:
        """What the pod tells now, with what it told before and its node has lost."""
        metadata, labels = pod["metadata"], pod["metadata"]["labels"]
        before = self._runs.get(metadata["uid"])
        states = [each.get("state", {}) for each in pod["status"].get("containerStatuses", [])]
        ended: dict[str, Any] = next((it["terminated"] for it in states if "terminated" in it), {})
        running: dict[str, Any] = next((it["running"] for it in states if "running" in it), {})
        started = node_moment(running.get("startedAt") or ended.get("startedAt"), self.began)
        return PodRun(
            name=metadata["name"],
            export=labels.get(names.LABEL_JOB_ID, ""),
            project=labels.get(names.LABEL_PROJECT_HASH, ""),
            task=labels.get(names.LABEL_TASK, runner_protocol.TASK_EXPORT),
            started=started or (before.started if before else None),
            ended=node_moment(ended.get("finishedAt"), self.began)
            or (before.ended if before else None),
            exit_code=ended.get("exitCode", before.exit_code if before else None),
        )


def read_export(item: dict[str, Any], began: float = 0.0) -> Export:
    """A BackupExport as far as it is judged, by a run that `began` then."""
    status = item.get("status", {})
    artifact = status.get("artifact")
    return Export(
        name=item["metadata"]["name"],
        project=item["spec"]["projectId"],
        phase=status.get("phase", "Pending"),
        reason=status.get("reason"),
        message=status.get("message"),
        attempts=status.get("attempts", 0),
        created=timestamps.from_text(item["metadata"]["creationTimestamp"]).timestamp(),
        completed=moment(status.get("completionTime"), began),
        artifact=artifact and Artifact(artifact["path"], artifact["sha256"], artifact["sizeBytes"]),
        expires=moment(status.get("expirationTime"), began),
    )


def _is_export(job: dict[str, Any]) -> bool:
    labels = job["metadata"].get("labels", {})
    task = labels.get(names.LABEL_TASK, runner_protocol.TASK_EXPORT)
    return bool(names.LABEL_EXPORT_UID in labels and task == runner_protocol.TASK_EXPORT)


def _owner(job: dict[str, Any]) -> str:
    owners = job["metadata"].get("ownerReferences", [])
    return next((owner["name"] for owner in owners if owner["kind"] == names.EXPORT_KIND), "nobody")
