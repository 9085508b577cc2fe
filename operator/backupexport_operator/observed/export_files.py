"""What may be left of an export's files, and who still uses them.

The runner removes its partial file before it writes its termination message, so an attempt with a
message has left none.  Every other attempt may have left one, and a cleanup's Job must look.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from backupexport_contract import timestamps
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact, Outcome, json_object, read_outcome

from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Observation, SideJob

# A node that has not ended a pod this long after the pod's grace period doesn't answer.
NODE_GRACE = timedelta(seconds=60)
# A failed cleanup is tried again this often.  One that takes longer counts as failed: a queue or
# somebody holds it, or no controller works on it.
CLEANUP_PAUSE = timedelta(minutes=5)


class CleanupState(Enum):
    """How far a cleanup's Job is; LOST is complete, but its pod is gone with its report.

    NOT_FOUND is a removal that has ended and didn't find the file, UNREACHABLE one that can't be
    made, as nobody knows the bucket any more.
    """

    MISSING = auto()
    UNDER_WAY = auto()
    DONE = auto()
    NOT_FOUND = auto()
    FAILED = auto()
    LOST = auto()
    UNREACHABLE = auto()


@dataclass(frozen=True, slots=True)
class CleanupResult:
    """`artifact` is a whole file that the cleanup found, `message` why it failed, or can't start.

    `made_at` is when its Job was made.
    """

    state: CleanupState
    artifact: Artifact | None = None
    message: str = ""
    made_at: str = ""


def may_still_write(pod: ObservedPod, now: datetime) -> bool:
    """Returns whether the pod may still write: it has a node, which has not said that it ended."""
    return bool(pod.node) and not pod.has_ended and not is_overdue(pod, now)


def is_on_silent_node(pod: ObservedPod, now: datetime) -> bool:
    """Returns whether the pod's node should have ended it by now and has not said so."""
    return bool(pod.node) and not pod.has_ended and is_overdue(pod, now)


def silent_attempt(seen: Observation) -> ObservedPod | None:
    """Returns the newest attempt's pod if its node is silent, so that no other attempt can come."""
    newest = seen.attempts[-1] if seen.attempts else None
    is_there = newest is not None and newest in seen.pods
    return newest if newest and is_there and is_on_silent_node(newest, seen.now) else None


def is_overdue(pod: ObservedPod, now: datetime) -> bool:
    """Returns whether the pod is NODE_GRACE late to go, so that its node seems to be dead."""
    return pod.deletes_at is not None and now >= timestamps.from_text(pod.deletes_at) + NODE_GRACE


def is_still_written(seen: Observation) -> bool:
    """Returns whether any pod of the export may still write."""
    return any(may_still_write(pod, seen.now) for pod in (*seen.pods, *seen.orphans))


def is_at_work(seen: Observation) -> bool:
    """Returns whether the export has a Job, or a pod that may still write."""
    return seen.job is not None or is_still_written(seen)


def is_clean(seen: Observation) -> bool:
    """Returns whether every attempt is known to have left no partial file."""
    job, attempts = seen.job or seen.lost_job, seen.attempts
    if job is None and not attempts:
        return seen.export.status.job_name is None
    if job is None or len(attempts) < job.pods_made:
        return False
    started = sum(1 for pod in attempts if pod.started_at and not pod.disrupted)
    return started >= (seen.export.status.attempts or 0) and all(map(_left_clean, attempts))


def cleanup_result(cleanup: SideJob, now: datetime) -> CleanupResult:
    """Returns what a cleanup's Job and pods tell."""
    if cleanup.job is None:
        return CleanupResult(CleanupState.MISSING)
    reports = [pod for pod in cleanup.pods if pod.exit_code == ExitCode.SUCCESS]
    if reports:
        artifact = read_outcome(reports[-1].termination_message).artifact
        return CleanupResult(CleanupState.DONE, artifact)
    if cleanup.job.failure is not None:
        said = [read_outcome(pod.termination_message).message for pod in cleanup.pods]
        message = next(filter(None, reversed(said)), cleanup.job.failure_message)
        return CleanupResult(CleanupState.FAILED, message=message)
    if cleanup.job.complete:
        return CleanupResult(CleanupState.LOST)
    if now > timestamps.from_text(cleanup.job.may_run_since) + CLEANUP_PAUSE:
        return CleanupResult(CleanupState.FAILED, message="its Job doesn't end")
    return CleanupResult(CleanupState.UNDER_WAY)


def removal_result(batch: SideJob, export_uid: str, now: datetime) -> CleanupResult:
    """Returns what is known of the removal of one export's file by a batch that has the export."""
    if batch.job is None:
        return CleanupResult(CleanupState.MISSING)
    result = replace(cleanup_result(batch, now), made_at=batch.job.created_at)
    if batch.job.suspended:
        return replace(result, state=CleanupState.UNDER_WAY)
    if result.state is CleanupState.DONE and not any(map(_verdicts, batch.pods)):
        # Its runner ended well, but what it found is not known: it is asked again.
        message = "its report can't be read"
        return replace(result, state=CleanupState.FAILED, message=message)
    if result.state is CleanupState.UNDER_WAY:
        return replace(result, message=start_problem(batch.pods))
    report = next(filter(None, map(_verdicts, _newest_first(batch.pods))), None)
    if report is None:
        return result
    place = batch.job.batch.index(export_uid)
    if place in report.failed:
        return replace(result, state=CleanupState.FAILED, message=report.message or "")
    state = CleanupState.NOT_FOUND if place in report.missing else CleanupState.DONE
    return replace(result, state=state, message="")


def _newest_first(pods: Iterable[ObservedPod]) -> list[ObservedPod]:
    return sorted(pods, key=lambda pod: (pod.created_at, pod.name), reverse=True)


def _verdicts(pod: ObservedPod) -> Outcome | None:
    """Returns the report of a removal that has come to each of its files."""
    told = read_outcome(pod.termination_message)
    is_readable = json_object(pod.termination_message) is not None
    has_ended_well = pod.exit_code == ExitCode.SUCCESS and is_readable
    return told if has_ended_well or told.failed else None


def start_problem(pods: Iterable[ObservedPod]) -> str:
    """Returns why the newest pod of a Job can't start, in Kubernetes' words; empty if it may."""
    newest = next(iter(_newest_first(pods)), None)
    if newest is None or newest.started_at or newest.has_ended:
        return ""
    # A container that is only being made has a reason and no message.
    words = newest.unschedulable or newest.waiting_message
    return f"its pod can't start: {words}" if words else ""


def _left_clean(pod: ObservedPod) -> bool:
    if not pod.node:
        return True
    if not pod.has_ended:
        return False
    if pod.never_made or (pod.started_at is None and pod.exit_code is None):
        return True
    said = read_outcome(pod.termination_message)
    return said.artifact is not None or said.message is not None


def unfinished_jobs(seen: Observation) -> list[ObservedJob]:
    """Returns the Jobs of the export's deliveries that may have work left."""
    jobs = [run.job for run in seen.delivery_jobs.values() if run.job is not None]
    return [job for job in jobs if _is_unfinished(seen, job)]


def is_being_sent(seen: Observation) -> bool:
    """Returns whether a delivery may still read the export's file."""
    runs = [run for kind, run in seen.delivery_jobs.items() if Deliveries.kinds()[kind].reads_file]
    return any(
        (run.job is not None and _is_unfinished(seen, run.job))
        or any(may_still_write(pod, seen.now) for pod in run.pods)
        for run in runs
    )


def _is_unfinished(seen: Observation, job: ObservedJob) -> bool:
    # A Job that is being deleted makes no more pods, and a dead node may keep it for ever.
    is_own = job.owner_uid == seen.export.metadata.uid and not job.deleting
    return is_own and not job.complete and job.failure is None
