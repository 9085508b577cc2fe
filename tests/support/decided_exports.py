"""BackupExports through their lives, with the statuses that the operator's decisions write."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import builders
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.names import job_name
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Outcome, outcome_text
from backupexport_operator.export.decision import decide
from backupexport_operator.observed.export_files import NODE_GRACE
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Observation

START = datetime(2026, 1, 29, 15, 31, 0, tzinfo=UTC)
_JOB = ObservedJob(
    name=job_name(builders.NAME), owner_uid=builders.UID, created_at=builders.CREATED
)
_POD = ObservedPod(name="pod-a", created_at=builders.CREATED, node="node-1")
_WORKING = replace(_POD, started_at=builders.CREATED)
_CHART = Deliveries.model_validate(
    {"email": {"host": "mail.example.com", "from": "exports@example.com"}}
)


def _ended(code: int, outcome: Outcome) -> ObservedPod:
    at = "2026-01-29T15:30:30Z"
    text = outcome_text(outcome)
    return replace(_WORKING, finished_at=at, exit_code=code, termination_message=text)


_WROTE = _ended(0, Outcome(builders.ARTIFACT))
_FAILED = _ended(ExitCode.AUTHENTICATION_FAILED, Outcome(message="Correct the password."))
_AWAY = _ended(ExitCode.CONNECTION_FAILED, Outcome(message="Start the server."))


class _Life:
    """One export, a minute older at each step."""

    def __init__(self, **spec: Any) -> None:
        self.export = builders.export(spec=spec)
        self._now = START

    def sees(self, *pods: ObservedPod, **facts: Any) -> BackupExport:
        """The export with the status that is decided on this."""
        given: dict[str, Any] = {
            "target": builders.target(), "job": _JOB, "now": self._now, "deliveries": _CHART,
            "storages": builders.STORAGES,
        }  # fmt: skip
        seen = Observation(export=self.export, pods=pods, backoff_limit=4, **(given | facts))
        self._now += timedelta(minutes=1)
        self.export = self.export.model_copy(update={"status": decide(seen).status})
        return self.export

    def is_cancelled(self) -> BackupExport:
        """The export as its user has it cancelled, which nobody has seen yet."""
        metadata = self.export.metadata.model_copy(update={"generation": 2})
        spec = self.export.spec.model_copy(update={"cancel": True})
        self.export = self.export.model_copy(update={"metadata": metadata, "spec": spec})
        return self.export


def stages() -> Iterator[tuple[str, BackupExport]]:
    """Names and exports; an ended one's name begins with its phase in lower case."""
    life = _Life(notifyEmail="a@example.com")
    yield "unseen", life.export
    yield "queued", life.sees(job=None, place_in_queue="Second.")
    yield "held by a suspended target", life.sees(job=None, target=builders.target(suspend=True))
    yield "accepted", life.sees(job=None)
    yield "without an image", life.sees(replace(_POD, waiting="ImagePullBackOff"))
    yield "running", life.sees(_WORKING)
    yield "tried again", life.sees(_AWAY)
    yield "running again", life.sees(_AWAY, replace(_WORKING, name="pod-b"))
    yield "succeeded", life.sees(_AWAY, replace(_WROTE, name="pod-b"))

    life = _Life()
    life.sees(_WORKING)
    job = replace(_JOB, pods_made=1)
    left = replace(_FAILED, termination_message="", exit_code=ExitCode.AUTHENTICATION_FAILED)
    yield "about to have failed", life.sees(left, job=job)
    yield "failed", life.sees(_FAILED, job=job)

    life = _Life()
    life.sees(_WORKING)
    yield "to be cancelled", life.is_cancelled()
    yield "being cancelled", life.sees(_WORKING)
    overdue = replace(_WORKING, deletes_at=builders.CREATED)
    cancelled = life.sees(overdue, job=None, now=START + NODE_GRACE * 5)
    yield "being tidied up", cancelled
    yield "cancelled", life.sees(_ended(143, Outcome(message="Stopped.")), job=None, lost_job=_JOB)
