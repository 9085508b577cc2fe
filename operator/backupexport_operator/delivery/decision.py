"""What to do next for a delivery of an export that has ended; pure.

A Job is one attempt.  The pause after one is half of the time since the export's end, so that
attempts come ever more seldom though nobody counts them.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from backupexport_contract import timestamps
from backupexport_contract.deliveries import Deliveries, conditions_by_kind
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import WITHOUT_FAILURE, DeliveryReason

from backupexport_operator.delivery.attempt import Attempt, AttemptState, attempt_of
from backupexport_operator.delivery.choice import (
    NOT_CONFIGURED,
    TARGET_IS_AWAY,
    awaits_target,
    settings_now,
    target_said_nothing,
)
from backupexport_operator.manifests.status import ConditionStatus, condition_now
from backupexport_operator.observed.failure import with_aside
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.own_secrets import own_secret_problem
from backupexport_operator.observed.places import is_reachable, recorded_place, without_storage

SHORTEST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=15)
# A pod that has not started by then makes room for others' deliveries.
START_PATIENCE = timedelta(minutes=5)
# The garbage collector takes its time with the Job of an export that was made anew.
FOREIGN_JOB_PATIENCE = timedelta(minutes=10)
# An ExportTarget that is gone may only be about to be made anew.
TARGET_PATIENCE = timedelta(hours=1)
_LOOK_AGAIN = timedelta(minutes=1)
_SOON = timedelta(seconds=5)
_AGAIN = "tried again at "


class DeliveryStep(Enum):
    """What to do with the delivery's Job."""

    CREATE = auto()
    WAIT = auto()
    DELETE = auto()


@dataclass(frozen=True, slots=True)
class DeliveryPlan:
    """The condition to write, and what to do beside writing it.

    `pause` is how long no other Job may be made, if nothing in the cluster tells of it.
    """

    condition: Condition
    step: DeliveryStep = DeliveryStep.WAIT
    recheck_after: timedelta | None = None
    pause: timedelta | None = None


def decide_delivery(seen: Observation, kind: str) -> DeliveryPlan:
    """Returns the next step of a delivery that is still to be made (its condition is Unknown)."""
    return _Decision(seen, kind).plan()


def refused_delivery(seen: Observation, kind: str, why: str) -> DeliveryPlan:
    """Returns what to do if the API server refuses the delivery's Job."""
    message = f"The delivery's Job can't be created: ask the cluster's administrators ({why})."
    refusal = Attempt(AttemptState.FAILED, message, DeliveryReason.INTERNAL)
    return _Decision(seen, kind).retry(refusal, seen.now)


def rationed_delivery(seen: Observation, kind: str, left: timedelta) -> DeliveryPlan:
    """Returns what to do if its receiver has had enough of the kind for an hour; `left` of it."""
    return _Decision(seen, kind).rationed(left)


class _Decision:
    """Decides on one kind of delivery of one export."""

    def __init__(self, seen: Observation, kind: str) -> None:
        self._seen = seen
        self._kind = kind
        self._known = conditions_by_kind(seen.export.status)[kind]
        self._settings = settings_now(kind, seen)

    def plan(self) -> DeliveryPlan:
        side_job = self._seen.delivery_jobs[self._kind]
        if side_job.job is None:
            return self._without_job()
        attempt = attempt_of(side_job, side_job.job, self._kind, self._seen.now)
        return self._with_job(side_job.job, attempt)

    def _without_job(self) -> DeliveryPlan:
        target = self._seen.target
        of_target = target.spec.deliveries if target else None
        if self._settings and of_target and of_target.settings_of(self._kind):
            problem = own_secret_problem(target, self._seen.own_secrets)
            if problem is not None:
                return self._plan("False", DeliveryReason.SECRET_INVALID, problem)
        if self._settings is None:
            return self._not_configured()
        if (why := self._settings.refusal(self._seen.export.spec)) is not None:
            return self._plan("False", DeliveryReason.REFUSED, why)
        # Only after an attempt has failed: after an outage of the operator the first one is late.
        if self._has_failed and self._is_over(self._seen.now):
            return self._given_up(Attempt(AttemptState.FAILED, self._before(), self._known.reason))
        seen = self._seen
        place = recorded_place(seen.export, seen.storages, seen.chart_claim)
        if self._settings.reads_file and not is_reachable(place, self._seen.storages):
            message = f"The file can't be read: {without_storage(place)}."
            reason = DeliveryReason.DEFERRED
            return self._plan("Unknown", reason, message, recheck_after=_LOOK_AGAIN)
        return DeliveryPlan(self._known, DeliveryStep.CREATE, recheck_after=_LOOK_AGAIN)

    def _with_job(self, job: ObservedJob, attempt: Attempt) -> DeliveryPlan:
        if job.owner_uid != self._seen.export.metadata.uid:
            # Another export's Job says nothing of this delivery.
            if self._since_end(self._seen.now) < FOREIGN_JOB_PATIENCE:
                return DeliveryPlan(self._known, recheck_after=_SOON)
            message = f"Job {job.name} belongs to something else and is in the way: delete it."
            return self._plan("False", DeliveryReason.INTERNAL, message)
        if attempt.state is AttemptState.DONE:
            # Before all else: what is sent is sent, whatever has happened since.
            return self._plan("True", DeliveryReason.SUCCEEDED, attempt.message)
        # An attempt that began with the target's settings goes on while the target is away.
        goes_on = self._may_get_settings and attempt.state is not AttemptState.FAILED
        if self._settings is None and not goes_on:
            return self._not_configured(DeliveryStep.WAIT if job.failure else DeliveryStep.DELETE)
        if job.deleting:
            # It makes no more pods, whatever it has come to.
            if self._is_over(self._seen.now):
                return self._given_up(attempt)
            return DeliveryPlan(self._known, recheck_after=_SOON)
        if attempt.state is AttemptState.FAILED:
            return self._failed(job, attempt)
        if attempt.state is AttemptState.STARTING:
            return self._starting(job, attempt)
        return self._under_way(attempt)

    def _failed(self, job: ObservedJob, attempt: Attempt) -> DeliveryPlan:
        if attempt.is_fatal:
            return self._plan("False", attempt.reason, attempt.message)
        if job.failure is None:
            # Its node doesn't answer, or another container keeps its pod: its Job won't end.
            return self._stop(attempt)
        plan = self.retry(attempt, timestamps.from_text(job.failed_at or job.created_at))
        if plan.recheck_after is not None and plan.recheck_after <= timedelta():
            return DeliveryPlan(self._known, DeliveryStep.DELETE, recheck_after=_SOON)
        return plan

    def _starting(self, job: ObservedJob, attempt: Attempt) -> DeliveryPlan:
        left = START_PATIENCE - (self._seen.now - timestamps.from_text(job.may_run_since))
        if job.suspended:
            # Kueue's: no deadline of the Job's own ends it, and made anew it would queue anew.
            if self._is_over(self._seen.now):
                return self._given_up(attempt, DeliveryStep.DELETE)
        elif left <= timedelta():
            reason = attempt.reason or DeliveryReason.DEADLINE_EXCEEDED
            return self._stop(replace(attempt, reason=reason))
        elif attempt.reason:
            return self._plan("Unknown", attempt.reason, attempt.message, recheck_after=left)
        return self._under_way(attempt)

    def _under_way(self, attempt: Attempt) -> DeliveryPlan:
        if self._has_failed:
            # What the last attempt said stays until this one has more to say.
            return DeliveryPlan(self._known, recheck_after=_LOOK_AGAIN)
        reason = DeliveryReason.IN_PROGRESS
        return self._plan("Unknown", reason, attempt.message, recheck_after=_LOOK_AGAIN)

    def retry(self, attempt: Attempt, failed_at: datetime) -> DeliveryPlan:
        """Returns a plan for another attempt after a pause, or for none if it is given up."""
        message = attempt.message
        if attempt.reason == DeliveryReason.DEADLINE_EXCEEDED and self._has_failed:
            # Our own patch comes back and asks again: the history must not be put in twice.
            message = self._before()
            if self._known.reason != DeliveryReason.DEADLINE_EXCEEDED:
                message = with_aside(attempt.message, f"before that: {message.rstrip('.')}")
        pause = max(SHORTEST_PAUSE, min(self._since_end(failed_at) / 2, LONGEST_PAUSE))
        retry_at = failed_at + pause
        if self._is_over(retry_at):
            return self._given_up(replace(attempt, message=message))
        again = with_aside(message, f"{_AGAIN}{retry_at:%H:%M:%S} UTC")
        left = retry_at - self._seen.now
        return self._plan("Unknown", attempt.reason, again, recheck_after=left, pause=left)

    def rationed(self, left: timedelta) -> DeliveryPlan:
        """Returns a plan that waits until the receiver may get another one."""
        message = "The receiver has got maxPerHour of these within an hour: it is made later."
        return self._plan("Unknown", DeliveryReason.DEFERRED, message, recheck_after=left)

    def _stop(self, attempt: Attempt) -> DeliveryPlan:
        """Returns a plan that deletes a Job which doesn't end, and has another one made later."""
        plan = self.retry(attempt, self._seen.now)
        return replace(plan, step=DeliveryStep.DELETE, pause=plan.recheck_after)

    def _not_configured(self, step: DeliveryStep = DeliveryStep.WAIT) -> DeliveryPlan:
        awaits = awaits_target(self._kind, self._seen)
        message = (TARGET_IS_AWAY if awaits else NOT_CONFIGURED).format(kind=self._kind)
        if self._may_get_settings:
            reason = DeliveryReason.NOT_CONFIGURED
            return self._plan("Unknown", reason, message, recheck_after=_LOOK_AGAIN)
        return self._plan("False", DeliveryReason.NOT_CONFIGURED, message, step=step)

    def _given_up(self, attempt: Attempt, step: DeliveryStep = DeliveryStep.WAIT) -> DeliveryPlan:
        reason = attempt.reason or DeliveryReason.DEADLINE_EXCEEDED
        seconds = self._settings.give_up_seconds if self._settings else 0
        message = with_aside(attempt.message, f"given up, as giveUpSeconds is {seconds}")
        return self._plan("False", reason, message, step=step)

    def _plan(
        self, status: ConditionStatus, reason: str, message: str, **further: Any
    ) -> DeliveryPlan:
        """Returns a plan with such a condition, the known one if that says so already."""
        known = self._known
        if (status, reason, message) == (known.status, known.reason, known.message):
            return DeliveryPlan(known, **further)
        kind = Deliveries.kinds()[self._kind].condition_type
        return DeliveryPlan(condition_now(self._seen, kind, status, reason, message), **further)

    @property
    def _may_get_settings(self) -> bool:
        is_early = self._since_end(self._seen.now) < TARGET_PATIENCE
        may_have_said = not target_said_nothing(self._kind, self._seen)
        return self._seen.target is None and is_early and may_have_said

    @property
    def _has_failed(self) -> bool:
        """Whether the condition tells of a failed attempt; a missing target is none."""
        return self._known.reason not in (*WITHOUT_FAILURE, DeliveryReason.NOT_CONFIGURED)

    def _before(self) -> str:
        """Returns what the condition says, without when it is tried again."""
        message, aside, _ = self._known.message.partition(f" ({_AGAIN}")
        return f"{message}." if aside else message

    def _is_over(self, moment: datetime) -> bool:
        """Returns whether giveUpSeconds will have passed at `moment`."""
        settings = self._settings
        return settings is not None and self._since_end(moment) > timedelta(
            seconds=settings.give_up_seconds
        )

    def _since_end(self, moment: datetime) -> timedelta:
        """Returns the time since the condition became Unknown, which no node's clock tells."""
        return moment - timestamps.from_text(self._known.last_transition_time)
