"""What the attempts of an export tell, of which each is a pod; pure."""

from datetime import datetime, timedelta

from backupexport_contract import timestamps
from backupexport_contract.reasons import Phase, Reason

from backupexport_operator.observed.export_files import NODE_GRACE
from backupexport_operator.observed.failure import Failure, end_failure, remembered_attempt
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Observation

# A runner that can't begin yet ends at once, and its export is still Pending then: it runs from its
# first progress on, or when its pod is this old.
BEGIN_GRACE = timedelta(seconds=5)
# An injected container that ends with the runner has done so by then; one that doesn't never does.
SIDECAR_GRACE = timedelta(seconds=30)


def own_job(seen: Observation) -> ObservedJob | None:
    """Returns the Job, unless it is another export's of the same name."""
    job = seen.job
    return job if job is not None and job.owner_uid == seen.export.metadata.uid else None


def newest_pod(seen: Observation) -> ObservedPod | None:
    """Returns the pod of the latest attempt; None before the first."""
    return seen.attempts[-1] if seen.attempts else None


def before_it_begins(seen: Observation, pod: ObservedPod) -> timedelta | None:
    """Returns how long to wait, at most, before `pod` counts as running; None if it does."""
    if seen.export.phase is Phase.RUNNING or seen.progress is not None or pod.started_at is None:
        return None
    age = seen.now - timestamps.from_text(pod.started_at)
    # A node's clock that is ahead tells nothing.
    return BEGIN_GRACE - age if timedelta(0) <= age < BEGIN_GRACE else None


def until_sidecars_are_late(seen: Observation, pod: ObservedPod | None) -> timedelta | None:
    """Returns how long the pod's other containers may still take; None if none keeps it."""
    if pod is None or pod not in seen.pods or not pod.kept_by or pod.finished_at is None:
        return None
    return timestamps.from_text(pod.finished_at) + SIDECAR_GRACE - seen.now


def until_overdue(pod: ObservedPod, now: datetime) -> timedelta | None:
    """Returns how long its node may still take to end a deleted pod; None if it is not deleted."""
    if pod.deletes_at is None:
        return None
    return max(timestamps.from_text(pod.deletes_at) + NODE_GRACE - now, timedelta(seconds=1))


def attempt_failures(seen: Observation) -> list[Failure]:
    """Returns why attempts made no artifact, the oldest first."""
    return [failure for pod in seen.attempts if (failure := _attempt_failure(seen, pod))]


def _attempt_failure(seen: Observation, pod: ObservedPod) -> Failure | None:
    if pod in seen.pods or pod.has_ended or not pod.node:
        return end_failure(pod)
    # It vanished while it worked.
    return Failure(Reason.INTERNAL, f"The export's pod {pod.name} was deleted before it was done.")


def stays(pod: ObservedPod) -> bool:
    """Returns whether the pod has ended and stays, though its Job is gone."""
    return pod.has_ended and pod.deletes_at is None


def orphan(seen: Observation) -> ObservedPod | None:
    """Returns a pod that works on without its Job, so that nobody else will stop it."""
    return next((pod for pod in seen.orphans if not pod.has_ended and not pod.deletes_at), None)


def last_failure(seen: Observation) -> Failure | None:
    """Returns why the latest attempt made no artifact, else what the status remembers of it."""
    failures = attempt_failures(seen)
    return failures[-1] if failures else remembered_attempt(seen.export.status)
