"""Why an export has failed whose Job failed or is gone, with what its attempts said before."""

from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.readable import readable_size
from backupexport_contract.reasons import ExitCode, Reason

from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.pod_failure import Failure, end_failure, with_aside


def job_deleted(seen: Observation) -> Failure:
    """Returns the failure of an export whose Job is gone and made no artifact."""
    by = "" if seen.lost_job else ", or cleared away while no operator ran,"
    message = f"The export's Job was deleted{by} before it was done: start the export again."
    # The deletion itself stopped the runner, which then ends with INTERRUPTED.
    before = (end_failure(p) for p in seen.attempts if p.exit_code != ExitCode.INTERRUPTED)
    last = next(filter(None, before), None)
    return _with_history(seen, Failure(Reason.JOB_DELETED, message), last)


def job_failure(seen: Observation, job: ObservedJob, last: Failure | None) -> Failure:
    """Returns the failure of an export whose Job has failed; `last` is its last attempt's."""
    if job.failure == "DeadlineExceeded":
        message = (
            f"The export took longer than activeDeadlineSeconds, {_done_so_far(seen)}: raise it "
            "on the BackupExport or the ExportTarget."
        )
        return _with_history(seen, Failure(Reason.DEADLINE_EXCEEDED, message), last)
    if last is not None:
        return last
    return Failure(
        Reason.INTERNAL,
        f"The export's Job failed ({job.failure}): {job.failure_message}".strip(),
    )


def _done_so_far(seen: Observation) -> str:
    progress = seen.export.status.progress
    if not any(pod.started_at for pod in seen.attempts) and seen.export.status.start_time is None:
        return "and its pod never started"
    if progress is None or not progress.dumped_bytes:
        return "and had dumped nothing yet (often it waits for a lock: pg_stat_activity tells)"
    dumped, estimated = map(readable_size, (progress.dumped_bytes, progress.estimated_bytes))
    return f"and had dumped {dumped} of about {estimated}"


def _with_history(seen: Observation, failure: Failure, last: Failure | None) -> Failure:
    """Returns `failure` with what went before it, or as the status has it already."""
    known = remembered(seen.export.status)
    if known is not None and known.reason == failure.reason:
        return known
    last = last or known
    if last is None or last.reason == failure.reason:
        return failure
    history = f"before that: {last.message.rstrip('.')}"
    return Failure(failure.reason, with_aside(failure.message, history))


def remembered(status: BackupExportStatus) -> Failure | None:
    """Returns the failure that the status tells of."""
    if status.reason is None:
        return None
    return Failure(status.reason, status.message or "")
