"""What to do next to have an export that has ended delivered: a pure function of what was seen.

A Job is one attempt.  Between two of them lies half of the time since the export's end, so that
they come more and more seldom without anybody counting them.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from backupexport_contract import timestamps
from backupexport_contract.deliveries import Deliveries, conditions_by_kind
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import UNTROUBLED, DeliveryReason

from backupexport_operator.delivery.attempt import Attempt, AttemptState, attempt_of
from backupexport_operator.delivery.choice import (
    NOT_CONFIGURED,
    TARGET_IS_AWAY,
    awaits_target,
    settings_for,
)
from backupexport_operator.manifests.status import ConditionStatus, condition_now
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.pod_failure import with_aside

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
    """What the condition should say, and what to do beside writing it.

    `pause` is how long no other Job is to be made, where nothing in the cluster tells of it.
    """

    condition: Condition
    step: DeliveryStep = DeliveryStep.WAIT
    recheck_after: timedelta | None = None
    pause: timedelta | None = None


def decide_delivery(seen: Observation, kind: str) -> DeliveryPlan:
    """The next step of a delivery whose condition is still Unknown."""
    return _Decision(seen, kind).plan()


def refused_delivery(seen: Observation, kind: str, why: str) -> DeliveryPlan:
    """What to do where the API server will not have the Job."""
    return _Decision(seen, kind).refused(why)


class _Decision:
    """Everything that a plan for one kind rests on."""

    def __init__(self, seen: Observation, kind: str) -> None:
        self._seen = seen
        self._kind = kind
        self._condition_type = Deliveries.kinds()[kind].condition_type
        self._known = conditions_by_kind(seen.export.status)[kind]
        self._run = seen.delivery_jobs[kind]
        self._settings = settings_for(kind, seen.target, seen.deliveries)

    def plan(self) -> DeliveryPlan:
        job = self._run.job
        if job is None:
            return self._without_job()
        if job.owner_uid != self._seen.export.metadata.uid:
            return self._behind_another(job)
        attempt = attempt_of(self._run, job, self._kind, self._seen.now)
        if attempt.state is AttemptState.DONE:
            return self._told("True", DeliveryReason.SUCCEEDED, attempt.message)
        is_failed = attempt.state is AttemptState.FAILED
        # What began by the target's word goes on while the target is away.
        if self._settings is None and (is_failed or not self._may_get_settings):
            return self._not_configured(DeliveryStep.WAIT if job.failure else DeliveryStep.DELETE)
        if job.deleting:
            if self._is_over(self._seen.now):
                return self._given_up(attempt)
            return DeliveryPlan(self._known, recheck_after=_SOON)
        if is_failed:
            return self._failed(job, attempt)
        if attempt.state is AttemptState.STARTING:
            return self._starting(job, attempt)
        return self._under_way(attempt)

    def refused(self, why: str) -> DeliveryPlan:
        message = f"The delivery's Job can't be created: ask the cluster's administrators ({why})."
        refusal = Attempt(AttemptState.FAILED, message, DeliveryReason.INTERNAL)
        return self._retry(refusal, self._seen.now)

    def _without_job(self) -> DeliveryPlan:
        if self._settings is None:
            return self._not_configured(DeliveryStep.WAIT)
        if self._is_troubled and self._is_over(self._seen.now):
            return self._given_up(Attempt(AttemptState.FAILED, self._before(), self._known.reason))
        return DeliveryPlan(self._known, DeliveryStep.CREATE, recheck_after=_LOOK_AGAIN)

    def _not_configured(self, step: DeliveryStep) -> DeliveryPlan:
        awaits = awaits_target(self._kind, self._seen.target)
        message = (TARGET_IS_AWAY if awaits else NOT_CONFIGURED).format(kind=self._kind)
        if self._may_get_settings:
            condition = self._condition("Unknown", DeliveryReason.NOT_CONFIGURED, message)
            return DeliveryPlan(condition, recheck_after=_LOOK_AGAIN)
        return self._told("False", DeliveryReason.NOT_CONFIGURED, message, step)

    def _behind_another(self, job: ObservedJob) -> DeliveryPlan:
        if self._since_end(self._seen.now) < FOREIGN_JOB_PATIENCE:
            return DeliveryPlan(self._known, recheck_after=_SOON)
        message = f"Job {job.name} belongs to something else and is in the way: delete it."
        return self._told("False", DeliveryReason.INTERNAL, message)

    def _failed(self, job: ObservedJob, attempt: Attempt) -> DeliveryPlan:
        if attempt.is_fatal:
            return self._told("False", attempt.reason, attempt.message)
        if job.failure is None:
            return self._stopped(attempt)
        failed_at = timestamps.from_text(job.failed_at or job.created_at)
        plan = self._retry(attempt, failed_at)
        if plan.recheck_after is not None and plan.recheck_after <= timedelta():
            return DeliveryPlan(self._known, DeliveryStep.DELETE, recheck_after=_SOON)
        return plan

    def _starting(self, job: ObservedJob, attempt: Attempt) -> DeliveryPlan:
        if job.suspended:
            # Kueue's: no deadline of the Job's own ends it, and made anew it would queue anew.
            if self._is_over(self._seen.now):
                return self._given_up(attempt, DeliveryStep.DELETE)
            return self._under_way(attempt)
        age = self._seen.now - timestamps.from_text(job.created_at)
        if age >= START_PATIENCE:
            reason = attempt.reason or DeliveryReason.DEADLINE_EXCEEDED
            return self._stopped(Attempt(AttemptState.FAILED, attempt.message, reason))
        if attempt.reason:
            condition = self._condition("Unknown", attempt.reason, attempt.message)
            return DeliveryPlan(condition, recheck_after=START_PATIENCE - age)
        return self._under_way(attempt)

    def _stopped(self, attempt: Attempt) -> DeliveryPlan:
        """Stop an attempt that doesn't end, and make another after a pause."""
        plan = self._retry(attempt, self._seen.now)
        return DeliveryPlan(
            plan.condition, DeliveryStep.DELETE, plan.recheck_after, plan.recheck_after
        )

    def _under_way(self, attempt: Attempt) -> DeliveryPlan:
        if self._is_troubled:
            # What the last attempt said stays until this one has more to say.
            return DeliveryPlan(self._known, recheck_after=_LOOK_AGAIN)
        condition = self._condition("Unknown", DeliveryReason.IN_PROGRESS, attempt.message)
        return DeliveryPlan(condition, recheck_after=_LOOK_AGAIN)

    def _retry(self, attempt: Attempt, failed_at: datetime) -> DeliveryPlan:
        """Another attempt after a pause, unless it has been tried for long enough."""
        message = attempt.message
        if attempt.reason == DeliveryReason.DEADLINE_EXCEEDED and self._is_troubled:
            # Told once, it stays as it was told.
            message = self._before()
            if self._known.reason != DeliveryReason.DEADLINE_EXCEEDED:
                message = with_aside(attempt.message, f"before that: {message.rstrip('.')}")
        attempt = replace(attempt, message=message)
        pause = max(SHORTEST_PAUSE, min(self._since_end(failed_at) / 2, LONGEST_PAUSE))
        retry_at = failed_at + pause
        if self._is_over(retry_at):
            return self._given_up(attempt)
        again = with_aside(message, f"{_AGAIN}{retry_at:%H:%M:%S} UTC")
        condition = self._condition("Unknown", attempt.reason, again)
        left = retry_at - self._seen.now
        return DeliveryPlan(condition, recheck_after=left, pause=left)

    def _given_up(self, attempt: Attempt, step: DeliveryStep = DeliveryStep.WAIT) -> DeliveryPlan:
        reason = attempt.reason or DeliveryReason.DEADLINE_EXCEEDED
        seconds = self._settings.give_up_seconds if self._settings else 0
        message = with_aside(attempt.message, f"given up, as giveUpSeconds is {seconds}")
        return self._told("False", reason, message, step)

    def _told(
        self,
        status: ConditionStatus,
        reason: str,
        message: str,
        step: DeliveryStep = DeliveryStep.WAIT,
    ) -> DeliveryPlan:
        return DeliveryPlan(self._condition(status, reason, message), step)

    def _condition(self, status: ConditionStatus, reason: str, message: str) -> Condition:
        wanted = condition_now(self._seen, self._condition_type, status, reason, message)
        shown = (wanted.status, wanted.reason, wanted.message)
        if shown == (self._known.status, self._known.reason, self._known.message):
            return self._known
        return wanted

    @property
    def _may_get_settings(self) -> bool:
        return self._seen.target is None and self._since_end(self._seen.now) < TARGET_PATIENCE

    @property
    def _is_troubled(self) -> bool:
        # That a target is away says nothing of the attempt that follows when it is back.
        return self._known.reason not in (*UNTROUBLED, DeliveryReason.NOT_CONFIGURED)

    def _before(self) -> str:
        """What the condition says, without when it is tried again."""
        message, aside, _ = self._known.message.partition(f" ({_AGAIN}")
        return f"{message}." if aside else message

    def _is_over(self, moment: datetime) -> bool:
        settings = self._settings
        return settings is not None and self._since_end(moment) > timedelta(
            seconds=settings.give_up_seconds
        )

    def _since_end(self, moment: datetime) -> timedelta:
        ended = self._seen.export.status.completion_time
        return moment - timestamps.from_text(ended) if ended else timedelta()
