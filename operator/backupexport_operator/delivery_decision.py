"""What to do next to have an export that has ended delivered: a pure function of what was seen.

A Job is one attempt.  Between two of them lies half of the time since the export's end, so that
they come more and more seldom without anybody counting them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from backupexport_contract import timestamps
from backupexport_contract.delivery_conditions import conditions_by_kind
from backupexport_contract.delivery_settings import Deliveries, Delivery
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import (
    DELIVERY_REASON_OF_EXIT_CODE,
    FATAL_DELIVERY_EXIT_CODES,
    DeliveryReason,
    ExitCode,
)
from backupexport_contract.runner_protocol import read_outcome

from backupexport_operator.delivery_choice import (
    NOT_CONFIGURED,
    UNTROUBLED,
    delivery_condition,
    settings_for,
)
from backupexport_operator.facts import JobFacts, PodFacts
from backupexport_operator.observation import Observation, TaskRun
from backupexport_operator.pod_verdict import start_trouble, with_aside

SHORTEST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=15)
# The garbage collector takes its time with the Job of an export that was made anew.
FOREIGN_JOB_PATIENCE = timedelta(minutes=10)
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
    """What the condition should say, and what to do beside writing it."""

    condition: Condition
    step: DeliveryStep = DeliveryStep.WAIT
    recheck_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    message: str
    is_fatal: bool = False


def decide_delivery(seen: Observation, kind: str) -> DeliveryPlan:
    """The next step of a delivery whose condition is still Unknown."""
    return _Decision(seen, kind).plan()


def refused_delivery(seen: Observation, kind: str, settings: Delivery, why: str) -> DeliveryPlan:
    """What to do where the API server will not have the Job."""
    message = f"The delivery's Job can't be created: ask the cluster's administrators ({why})."
    failure = _Failure(DeliveryReason.INTERNAL, message)
    return _Decision(seen, kind).retry(failure, settings, seen.now)


class _Decision:
    """Everything that a plan for one kind rests on."""

    def __init__(self, seen: Observation, kind: str) -> None:
        self._seen = seen
        self._kind = kind
        self._form: type[Delivery] = Deliveries.kinds()[kind]
        self._known = conditions_by_kind(seen.export.status)[kind]
        self._run = seen.delivery_runs[kind]

    def plan(self) -> DeliveryPlan:
        settings = settings_for(self._kind, self._seen.target, self._seen.deliveries)
        job = self._run.job
        if job is not None and job.owner_uid != self._seen.export.metadata.uid:
            return self._behind_another(job)
        if job is not None and job.complete:
            said = _said(_newest_pod(self._run, job)) or "It was made."
            return self._told("True", DeliveryReason.SUCCEEDED, said)
        if settings is None:
            # Nobody can make it any more, whatever the last attempt came to.
            message = NOT_CONFIGURED.format(kind=self._kind)
            return self._told("False", DeliveryReason.NOT_CONFIGURED, message)
        if job is None:
            return DeliveryPlan(self._known, DeliveryStep.CREATE, recheck_after=_LOOK_AGAIN)
        if job.deleting:
            return DeliveryPlan(self._known, recheck_after=_SOON)
        if job.failure is not None:
            return self._failed(job, settings)
        if job.suspended:
            return self._suspended(job, settings)
        return self._under_way(job)

    def _behind_another(self, job: JobFacts) -> DeliveryPlan:
        if self._since_end(self._seen.now) < FOREIGN_JOB_PATIENCE:
            return DeliveryPlan(self._known, recheck_after=_SOON)
        message = f"Job {job.name} belongs to something else and is in the way."
        return self._told("False", DeliveryReason.INTERNAL, message)

    def _failed(self, job: JobFacts, settings: Delivery) -> DeliveryPlan:
        failure = self._failure(job)
        if failure.is_fatal:
            return self._told("False", failure.reason, failure.message)
        failed_at = timestamps.from_text(job.failed_at or job.created_at)
        return self.retry(failure, settings, failed_at)

    def retry(self, failure: _Failure, settings: Delivery, failed_at: datetime) -> DeliveryPlan:
        """Another attempt after a pause, unless it has been tried for long enough."""
        give_up_after = timedelta(seconds=settings.give_up_seconds)
        pause = max(SHORTEST_PAUSE, min(self._since_end(failed_at) / 2, LONGEST_PAUSE))
        retry_at = failed_at + pause
        if self._since_end(retry_at) > give_up_after:
            aside = f"given up {give_up_after} after the export's end"
            return self._told("False", failure.reason, with_aside(failure.message, aside))
        again = f"{_AGAIN}{retry_at:%H:%M:%S} UTC"
        condition = self._condition("Unknown", failure.reason, with_aside(failure.message, again))
        left = retry_at - self._seen.now
        if left <= timedelta():
            return DeliveryPlan(self._known, DeliveryStep.DELETE, recheck_after=_SOON)
        return DeliveryPlan(condition, recheck_after=left)

    def _failure(self, job: JobFacts) -> _Failure:
        if job.failure == "DeadlineExceeded":
            message = "The attempt took too long"
            if self._known.reason not in UNTROUBLED:
                before, _, _ = self._known.message.partition(f" ({_AGAIN}")
                message += f", before that: {before}"
            return _Failure(DeliveryReason.DEADLINE_EXCEEDED, message)
        pod = _newest_pod(self._run, job)
        if pod is None or pod.exit_code is None:
            message = f"The attempt's Job failed ({job.failure}): {job.failure_message}"
            return _Failure(DeliveryReason.INTERNAL, message.rstrip(": "))
        reason = _reason_of(pod.exit_code) or DeliveryReason.INTERNAL
        ended = pod.ended_by or f"exit code {pod.exit_code}"
        said = _said(pod) or f"The attempt's pod was stopped ({ended})."
        is_fatal = pod.exit_code in FATAL_DELIVERY_EXIT_CODES and not pod.disrupted
        return _Failure(reason, said, is_fatal)

    def _suspended(self, job: JobFacts, settings: Delivery) -> DeliveryPlan:
        """By Kueue, or by hand: no deadline of the Job's own ends it then."""
        message = f"Job {job.name} is suspended: `kubectl describe job {job.name}` says why."
        if self._since_end(self._seen.now) > timedelta(seconds=settings.give_up_seconds):
            return self._told("False", DeliveryReason.DEADLINE_EXCEEDED, message)
        condition = self._condition("Unknown", DeliveryReason.IN_PROGRESS, message)
        return DeliveryPlan(condition, recheck_after=_LOOK_AGAIN)

    def _under_way(self, job: JobFacts) -> DeliveryPlan:
        pod = _newest_pod(self._run, job)
        trouble = start_trouble(pod) if pod is not None else None
        if pod is not None and pod.waiting == "CreateContainerConfigError":
            message = (
                f"The Secret of deliveries.{self._kind} can't be used: create or correct it "
                f"({pod.waiting_message})."
            )
            condition = self._condition("Unknown", DeliveryReason.SECRET_INVALID, message)
        elif trouble is not None:
            condition = self._condition("Unknown", trouble.reason, trouble.message)
        elif self._known.reason not in UNTROUBLED:
            # What the last attempt said stays until this one has more to say.
            condition = self._known
        else:
            message = f"Job {job.name} makes it."
            condition = self._condition("Unknown", DeliveryReason.IN_PROGRESS, message)
        return DeliveryPlan(condition, recheck_after=_LOOK_AGAIN)

    def _told(self, status: str, reason: str, message: str) -> DeliveryPlan:
        return DeliveryPlan(self._condition(status, reason, message))

    def _condition(self, status: str, reason: str, message: str) -> Condition:
        wanted = delivery_condition(self._seen, self._form, status, reason, message)
        shown = (wanted.status, wanted.reason, wanted.message)
        if shown == (self._known.status, self._known.reason, self._known.message):
            return self._known
        return wanted

    def _since_end(self, moment: datetime) -> timedelta:
        ended = self._seen.export.status.completion_time
        return moment - timestamps.from_text(ended) if ended else timedelta()


def _newest_pod(run: TaskRun, job: JobFacts) -> PodFacts | None:
    """The attempt's last pod; one of an earlier attempt, whose Job had the same name, is none."""
    pods = [pod for pod in run.pods if pod.created_at >= job.created_at]
    return max(pods, key=lambda pod: (pod.created_at, pod.name), default=None)


def _said(pod: PodFacts | None) -> str | None:
    return read_outcome(pod.termination_message).message if pod is not None else None


def _reason_of(exit_code: int) -> DeliveryReason | None:
    try:
        return DELIVERY_REASON_OF_EXIT_CODE.get(ExitCode(exit_code))
    except ValueError:
        return None
