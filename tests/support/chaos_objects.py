"""What people and their tools do to exports, targets and Jobs while a chaos run lasts."""

import contextlib
import http.client
import json
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from backupexport_contract import names
from backupexport_contract.runner_protocol import TASK_EXPORT
from chaos_faults import Blow, LastingBlow, Outcome
from chaos_schedule import Fault, Manner, Strike
from chaos_verdict import FINISHED, Accepted, Outage
from chaos_watch import Ledger
from playground.rest import Api
from playground.targets import target_name
from playground.tools import ToolError, apply, get, kubectl, wait_for

_REFUSED = (ToolError, subprocess.TimeoutExpired)
_TRY_SECONDS = 15
# A target that is taken away has to come back, whatever else is away.
_MEND_SECONDS = 300
# A replica's cache may show for a moment longer that a target is gone.
_LATE_SECONDS = 15.0
# What a suspended target says meanwhile; exports that were accepted before keep theirs.
_OTHER_RETENTION_SECONDS = 60


class Objects:
    """Strikes on the objects of a namespace, and what they excuse."""

    def __init__(
        self,
        namespace: str,
        api: Api,
        projects: Sequence[str],
        ledger: Ledger,
        accepted: Callable[[], list[Accepted]],
    ) -> None:
        self._namespace = namespace
        self._api = api
        self._projects = projects
        self._ledger = ledger
        self._accepted = accepted
        # Two at one target would undo each other.
        self._one_target = threading.Lock()
        # When a cancel got its 202, by export; those who were asked without an answer, too.
        self.cancelled: dict[str, float] = {}
        self.asked_to_cancel: set[str] = set()
        self.deleted: set[str] = set()
        self.jobless: set[str] = set()
        self.struck_jobs: set[str] = set()
        self.struck_mails: Counter[str] = Counter()
        self.away: dict[str, list[Outage]] = defaultdict(list)

    @property
    def blows(self) -> dict[Fault, Blow]:
        """What is done at once."""
        return {
            Fault("export", Manner.CANCEL): self._cancel,
            Fault("export", Manner.DELETE): self._delete,
            Fault("job", Manner.DELETE): self._delete_job,
        }

    @property
    def lasting(self) -> dict[Fault, LastingBlow]:
        """What is mended after a time."""
        return {
            Fault("target", Manner.SUSPEND): self._suspend,
            Fault("target", Manner.REMAKE): self._remake,
        }

    def _cancel(self, strike: Strike) -> list[str]:
        name = self._pick(strike, lambda export: export not in self.asked_to_cancel, FINISHED)
        if name is None:
            return []
        self.asked_to_cancel.add(name)
        try:
            answer = self._api.call("POST", f"/api/jobs/{name}/cancel")
        except (OSError, http.client.HTTPException, ValueError):
            return []
        if answer.status != 202:
            return []
        self.cancelled[name] = time.time()
        return [name]

    def _delete(self, strike: Strike) -> list[str]:
        name = self._pick(strike, lambda export: export not in self.deleted)
        if name is None:
            return []
        self.deleted.add(name)
        return [name] if self._kubectl("delete", "bex", name, "--wait=false") else []

    def _delete_job(self, strike: Strike) -> list[str]:
        label = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
        try:
            jobs = get("-n", self._namespace, "jobs", "-l", label)["items"]
        except _REFUSED:
            return []
        unfinished = sorted(
            (job for job in jobs if not job["status"].get("conditions")),
            key=lambda job: str(job["metadata"]["name"]),
        )
        if not unfinished:
            return []
        job = unfinished[strike.pick % len(unfinished)]["metadata"]
        # One that removes the files of several has no job id.
        labels = job["labels"]
        export, task = labels.get(names.LABEL_JOB_ID, ""), labels.get(names.LABEL_TASK)
        if task in (None, TASK_EXPORT):
            self.jobless.add(export)
        elif task.startswith("deliver"):
            self.struck_mails[export] += 1
        self.struck_jobs.add(job["uid"])
        done = self._kubectl("delete", "job", job["name"], "--wait=false")
        return [job["name"]] if done else []

    def _suspend(self, strike: Strike) -> Outcome:
        project = self._projects[strike.pick % len(self._projects)]
        with self._one_target:
            kept = self._found_target(project)["spec"].get("retentionSeconds")
            meanwhile = {"suspend": True, "retentionSeconds": _OTHER_RETENTION_SECONDS}
            before = {"suspend": None, "retentionSeconds": kept}
            try:
                _insist(lambda: self._patch_target(project, meanwhile), _TRY_SECONDS)
                time.sleep(strike.seconds)
            finally:
                _insist(lambda: self._patch_target(project, before), _MEND_SECONDS)
        return Outcome(f"{project}, for {strike.seconds:.0f} s", had_effect=True)

    def _remake(self, strike: Strike) -> Outcome:
        project = self._projects[strike.pick % len(self._projects)]
        name = target_name(project)
        with self._one_target:
            found = self._found_target(project)
            began = time.time()
            # Stands for as long as it is away, for whoever is refused meanwhile.
            self.away[project].append(Outage(began, float("inf")))
            try:
                _insist(lambda: self._kubectl("delete", "ext", name, "--wait=false"), _TRY_SECONDS)
                time.sleep(strike.seconds)
            finally:
                _insist(lambda: self._apply(as_applied(found)), _MEND_SECONDS)
                self.away[project][-1] = Outage(began, time.time() + _LATE_SECONDS)
        return Outcome(f"{project}, for {time.time() - began:.0f} s", had_effect=True)

    def _found_target(self, project: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            with contextlib.suppress(*_REFUSED):
                found: dict[str, Any] = get(
                    "-n", self._namespace, "exporttargets", target_name(project)
                )
                return found
            return None

        return wait_for(look, f"the target of {project}", _TRY_SECONDS, every=1)

    def _pick(
        self, strike: Strike, is_wanted: Callable[[str], bool], but: Sequence[str] = ()
    ) -> str | None:
        """An export whose caller has its 202, or None: one without would be made once more."""
        there = sorted(
            each.job_id
            for each in self._accepted()
            if is_wanted(each.job_id)
            and each.job_id not in self._ledger.gone
            and each.job_id in self._ledger.last
            and self._ledger.last[each.job_id].phase not in but
        )
        return there[strike.pick % len(there)] if there else None

    def _patch_target(self, project: str, spec: dict[str, Any]) -> bool:
        return self._kubectl(
            "patch", "ext", target_name(project), "--type=merge", "-p", json.dumps({"spec": spec})
        )

    def _apply(self, manifest: dict[str, Any]) -> bool:
        with contextlib.suppress(*_REFUSED):
            apply(manifest)
            return True
        return False

    def _kubectl(self, *arguments: str) -> bool:
        """Whether it was done."""
        try:
            kubectl("-n", self._namespace, *arguments, "--request-timeout=5s", timeout=10)
        except _REFUSED:
            return False
        return True


def _insist(do: Callable[[], bool], seconds: float) -> None:
    """Do it until it is done, as the API server may be away."""
    wait_for(do, "a target's change", seconds, every=1)


def as_applied(found: dict[str, Any]) -> dict[str, Any]:
    """A manifest as a tool that makes an object again has it."""
    metadata = {key: found["metadata"][key] for key in ("name", "namespace")}
    return {
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": metadata,
        "spec": found["spec"],
    }
