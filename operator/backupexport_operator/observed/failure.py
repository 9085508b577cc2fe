"""What is wrong with a Pod, or its Job: a Reason for programs, a message for people.

The causes are two ordered lists, START_CHECKS and END_CHECKS, and the first check that finds its
cause decides.  A new cause is a function and an entry.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from backupexport_contract import names
from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.readable import readable_size
from backupexport_contract.reasons import FATAL_EXIT_CODES, REASON_OF_EXIT_CODE, ExitCode, Reason
from backupexport_contract.runner_protocol import Artifact, is_of_newer_version, read_outcome

from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Observation


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an export doesn't go on; `is_fatal` if another attempt would fail in the same way."""

    reason: Reason
    message: str
    is_fatal: bool = False


_MORE_MEMORY = "raise resources.limits.memory on the ExportTarget"
_OUT_OF_MEMORY = Failure(
    Reason.OUT_OF_MEMORY,
    f"The export's pod ran out of memory: {_MORE_MEMORY} (or runner.resources in the chart).",
)
_REPORT_UNREADABLE = Failure(
    Reason.INTERNAL,
    "The runner ended well but its report can't be read; the file may be whole: look "
    "for its manifest in its storage, or start the export again.",
    is_fatal=True,
)
_REPORT_OF_NEWER_RUNNER = Failure(
    Reason.INTERNAL,
    "The runner ended well but is newer than the operator, which can't read its report; the file "
    "may be whole: look for its manifest in its storage, or give both the same version "
    "(runner.image.tag) and start the export again.",
    is_fatal=True,
)
_NODE_CANNOT_START = "The node can't start the runner: ask the cluster's administrators"
# What the scheduler's volume plugins say:
# https://github.com/kubernetes/kubernetes/tree/master/pkg/scheduler/framework/plugins/volumebinding
_ABOUT_A_VOLUME = r"persistentvolumeclaim|PersistentVolumeClaim|persistent volume|volume node"
# In the kubelet's words about a volume that it can't mount.
_ABOUT_THE_SECRET = rf'volume "{names.SECRET_VOLUME}"|volumes=\[{names.SECRET_VOLUME}\]'
# What a busy kubelet says of a Secret that is good; it tries again itself.
_SECRET_DELAYED = "failed to sync secret cache"
_SECRET_UNUSABLE = (
    "The target's Secret can't be used: create or correct it, and the export starts by itself"
)
_IMAGE_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
# What a Job says that Kubernetes gave up for its pod's exit code:
# https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
_GIVEN_UP_BY_CODE = re.compile(r"for pod [^/\s]+/(?P<pod>\S+) failed with exit code (?P<code>\d+) ")
# What is told of the next attempt behind a failure, with more in its brackets maybe.
TRIED_AGAIN = "attempt {used} of {allowed} failed, trying again"
LOOKED_AT_AGAIN = "another pod looks again, and the export starts by itself"
TAKEN_OVER = "a disruption, which doesn't count: another pod takes over"
_OF_THE_NEXT_ATTEMPT = re.compile(
    rf" \((?:{TRIED_AGAIN.format(used='[0-9]+', allowed='[0-9]+')}|{LOOKED_AT_AGAIN}|{TAKEN_OVER})"
    r"[^()]*\)\.$"
)
# The container was made, and the runtime could not start it.
_NEVER_STARTED = ("StartError", "ContainerCannotRun")


def end_failure(pod: ObservedPod) -> Failure | None:
    """Returns why a pod that has ended made no artifact; None if it made one or still runs."""
    has_ended = pod.exit_code is not None or pod.phase == "Failed"
    if not has_ended or end_artifact(pod) is not None:
        return None
    return next(filter(None, (check(pod) for check in END_CHECKS)))


def end_artifact(pod: ObservedPod) -> Artifact | None:
    """Returns the artifact that a pod reports which ended well."""
    if pod.exit_code != ExitCode.SUCCESS:
        return None
    return read_outcome(pod.termination_message).artifact


def _volume_unbound(pod: ObservedPod) -> bool:
    return re.search(_ABOUT_A_VOLUME, pod.unschedulable or "") is not None


def _unschedulable(pod: ObservedPod) -> bool:
    return pod.unschedulable is not None


def _image_unavailable(pod: ObservedPod) -> bool:
    return pod.waiting in _IMAGE_REASONS


def _directory_unmountable(pod: ObservedPod) -> bool:
    return pod.waiting == "CreateContainerConfigError" and "subPath" in pod.waiting_message


def _secret_invalid(pod: ObservedPod) -> bool:
    is_delayed = _SECRET_DELAYED in pod.waiting_message
    return pod.waiting == "CreateContainerConfigError" and not is_delayed


def _container_not_made(pod: ObservedPod) -> bool:
    return pod.waiting in ("CreateContainerError", "RunContainerError")


START_CHECKS: tuple[tuple[Callable[[ObservedPod], bool], Reason, str], ...] = (
    # The scheduler names several causes at once: the volume first, which no other node helps.
    (
        _volume_unbound,
        Reason.STORAGE_UNWRITABLE,
        "The exports' volume isn't there for the export's pod: create or correct its "
        "PersistentVolumeClaim, and the export starts by itself",
    ),
    (
        _unschedulable,
        Reason.UNSCHEDULABLE,
        "No node can take the export's pod: make room, or lower the resources on the ExportTarget",
    ),
    (
        _image_unavailable,
        Reason.IMAGE_UNAVAILABLE,
        "The runner's image can't be pulled: check runner.image and imagePullSecrets of the chart",
    ),
    # The kubelet waits with the same reason for a volume and for a Secret.
    (
        _directory_unmountable,
        Reason.STORAGE_UNWRITABLE,
        "The project's directory can't be mounted: check the exports' volume, which has to take "
        "writes",
    ),
    (
        _secret_invalid,
        Reason.SECRET_INVALID,
        _SECRET_UNUSABLE,
    ),
    (_container_not_made, Reason.INTERNAL, _NODE_CANNOT_START),
)


def start_failure(pod: ObservedPod) -> Failure | None:
    """Returns why a pod that has not started can't start for now; None if it is just young."""
    for applies, reason, sentence in START_CHECKS:
        if applies(pod):
            return Failure(reason, f"{sentence}{_start_detail(pod)}.")
    return None


def _start_detail(pod: ObservedPod) -> str:
    if pod.unschedulable is not None:
        return _detail(pod.unschedulable)
    if pod.waiting in _IMAGE_REASONS:
        # The node says the same while it pulls and, with a preface, while it waits to pull again.
        return _detail(pod.waiting_message.partition("ErrImagePull: ")[2] or pod.waiting_message)
    return _detail(pod.waiting or "", pod.waiting_message)


def _stopped_by_its_node(pod: ObservedPod) -> Failure | None:
    words = (pod.reason or "no reason given", pod.message)
    return _stopped(pod, *words) if pod.exit_code is None else None


def _killed_pg_dump(pod: ObservedPod) -> Failure | None:
    words = said(pod) if pod.exit_code == ExitCode.KILLED else None
    return Failure(Reason.OUT_OF_MEMORY, words) if words else None


def _out_of_memory(pod: ObservedPod) -> Failure | None:
    # runc says so itself if the limit is below what it takes to start the container.
    at_start = pod.ended_by in _NEVER_STARTED and "OOM-killed" in pod.termination_message
    return _OUT_OF_MEMORY if pod.ended_by == "OOMKilled" or at_start else None


def _report_unreadable(pod: ObservedPod) -> Failure | None:
    if pod.exit_code != ExitCode.SUCCESS:
        return None
    is_newer = is_of_newer_version(pod.termination_message)
    return _REPORT_OF_NEWER_RUNNER if is_newer else _REPORT_UNREADABLE


def _container_not_started(pod: ObservedPod) -> Failure | None:
    if pod.ended_by not in _NEVER_STARTED:
        return None
    detail = _detail(pod.ended_by, pod.termination_message)
    return Failure(Reason.INTERNAL, f"{_NODE_CANNOT_START}{detail}.")


def _ended_by_runner(pod: ObservedPod) -> Failure | None:
    if pod.exit_code not in REASON_OF_EXIT_CODE:
        return None
    return Failure(
        REASON_OF_EXIT_CODE[pod.exit_code],
        said(pod) or f"The runner ended with exit code {pod.exit_code}; its log says more.",
        # A disruption doesn't count, whatever the runner made of it (podFailurePolicy).
        is_fatal=pod.exit_code in FATAL_EXIT_CODES and not pod.disrupted,
    )


def _ended_by_newer_runner(pod: ObservedPod) -> Failure | None:
    outcome = read_outcome(pod.termination_message)
    if pod.exit_code in list(ExitCode) or outcome.message is None:
        return None
    known = {str(reason): reason for reason in REASON_OF_EXIT_CODE.values()}
    return Failure(known.get(outcome.reason or "", Reason.INTERNAL), outcome.message)


def _stopped_from_outside(pod: ObservedPod) -> Failure:
    return _stopped(pod, f"exit code {pod.exit_code}", pod.ended_by)


END_CHECKS: tuple[Callable[[ObservedPod], Failure | None], ...] = (
    # Refused or evicted: only the pod's own status tells so, no container's.
    _stopped_by_its_node,
    # The kernel killed pg_dump, and the runner lived on to say so: better than what we know.
    _killed_pg_dump,
    _out_of_memory,
    # All others with exit code 0 have reported an artifact.
    _report_unreadable,
    # Its exit code is the runtime's, so look at it before the runner's codes.
    _container_not_started,
    _ended_by_runner,
    # A code that only a newer runner has.
    _ended_by_newer_runner,
    # A signal: a drain, the node's shutdown, somebody's kill.  This one always matches.
    _stopped_from_outside,
)


def stuck_failure(job_name: str, pod: ObservedPod | None, warning: str | None) -> Failure:
    """Returns why an export has not started whose pod tells nothing, or whose Job has no pod.

    `warning` is the newest Event of type Warning about the pod, or the Job, as `Reason: note`.
    """
    detail = _detail(warning or "")
    if pod is None:
        return Failure(
            Reason.UNSCHEDULABLE,
            "The export's Job gets no pod: often a quota or an admission rule forbids it, "
            f"`kubectl describe job {job_name}` says more{detail}.",
        )
    if "OOM-killed" in detail:
        return _OUT_OF_MEMORY
    if re.search(_ABOUT_THE_SECRET, detail) and _SECRET_DELAYED not in detail:
        return Failure(Reason.SECRET_INVALID, f"{_SECRET_UNUSABLE}{detail}.")
    if ("Mount" in detail or "Attach" in detail) and _SECRET_DELAYED not in detail:
        return Failure(
            Reason.STORAGE_UNWRITABLE,
            f"The exports' volume can't be mounted for the export's pod: check it{detail}.",
        )
    return Failure(
        Reason.INTERNAL,
        "The export's pod doesn't start: ask the cluster's administrators, `kubectl describe pod "
        f"{pod.name}` says more{detail}.",
    )


def job_deleted(seen: Observation) -> Failure:
    """Returns the failure of an export whose Job is gone and made no artifact."""
    by = "" if seen.lost_job else ", or cleared away while no operator ran,"
    message = f"The export's Job was deleted{by} before it was done: start the export again."
    # The deletion itself stopped the runner, which then ends with INTERRUPTED.
    newest_first = reversed(seen.attempts)
    before = (end_failure(p) for p in newest_first if p.exit_code != ExitCode.INTERRUPTED)
    last = next(filter(None, before), None)
    return _with_history(seen, Failure(Reason.JOB_DELETED, message), last)


def job_failure(seen: Observation, job: ObservedJob, last: Failure | None) -> Failure:
    """Returns the failure of an export whose Job has failed; `last` is its last attempt's."""
    if job.failure == "DeadlineExceeded":
        message = (
            f"The export took longer than activeDeadlineSeconds{_done_so_far(seen, job)}: raise it "
            "on the BackupExport or the ExportTarget."
        )
        return _with_history(seen, Failure(Reason.DEADLINE_EXCEEDED, message), last)
    if (decisive := _failure_told_by_job(seen, job, last)) is not None:
        return decisive
    if last is not None:
        return last
    return Failure(
        Reason.INTERNAL, f"The export's Job failed ({job.failure}): {job.failure_message}".strip()
    )


def given_up_for(job: ObservedJob) -> tuple[str, Reason, str] | None:
    """Returns the pod for whose exit code Kubernetes gave the Job up, its reason, and in words."""
    told = _GIVEN_UP_BY_CODE.search(job.failure_message)
    reason = REASON_OF_EXIT_CODE.get(int(told["code"])) if told else None
    if told is None or reason is None:
        return None
    return told["pod"], reason, f"exit code {told['code']}, which means {reason}"


def _failure_told_by_job(
    seen: Observation, job: ObservedJob, last: Failure | None
) -> Failure | None:
    """Returns the failure for which Kubernetes gave the Job up, where its condition tells it.

    A pod that is deleted is gone as soon as its Job has counted it, maybe while no operator looks.
    """
    told = given_up_for(job)
    if told is None:
        return None
    name, reason, words = told
    pod = next((pod for pod in seen.attempts if pod.name == name), None)
    if pod is not None and (own := end_failure(pod)) is not None:
        return own
    sentence = (
        f"Pod {name} failed for good with {words}: start the export again, and if that fails, too, "
        "the message says what to do."
    )
    known = remembered_attempt(seen.export.status)
    if known is not None and known.message.startswith(sentence.rstrip(".")):
        return known
    # Another operator may have seen the pod's end.
    before = known if known is not None and known.reason == reason else last
    if before is None:
        return Failure(reason, sentence)
    return Failure(reason, with_aside(sentence, f"told before: {before.message.rstrip('.')}"))


def _done_so_far(seen: Observation, job: ObservedJob) -> str:
    progress, attempts = seen.export.status.progress, seen.attempts
    if progress is not None and progress.dumped_bytes:
        dumped, estimated = map(readable_size, (progress.dumped_bytes, progress.estimated_bytes))
        return f", and had dumped {dumped} of about {estimated}"
    if len(attempts) < job.pods_made:
        # Kubernetes deletes the pod that works when the deadline comes, seen or not.
        return ""
    if not any(pod.started_at for pod in attempts) and seen.export.status.start_time is None:
        return ", and its pod never started"
    return ", and had dumped nothing yet (often it waits for a lock: pg_stat_activity tells)"


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


def remembered_attempt(status: BackupExportStatus) -> Failure | None:
    """Returns the failure that the status tells of, without what it tells of the next attempt."""
    known = remembered(status)
    if known is None:
        return None
    return Failure(known.reason, _OF_THE_NEXT_ATTEMPT.sub(".", known.message))


def with_aside(message: str, aside: str) -> str:
    """Returns the one sentence `message` with `aside` in brackets at its end."""
    return f"{message.rstrip('.')} ({aside})."


def _stopped(pod: ObservedPod, *details: str) -> Failure:
    if pod.disrupted:
        sentence = "The export's pod had to leave its node: it starts over elsewhere by itself"
    else:
        sentence = (
            "The runner was stopped before it could finish: start the export again unless it "
            "starts over by itself"
        )
        if pod.exit_code == ExitCode.KILLED:
            # A node may miss that the kernel killed it for its memory, and then tells any kill.
            sentence += f", and if that happens again, {_MORE_MEMORY}"
    return Failure(Reason.INTERNAL, f"{sentence}{_detail(*details)}.")


def said(pod: ObservedPod) -> str | None:
    """Returns what the pod's runner said in its termination message."""
    return read_outcome(pod.termination_message).message


def _detail(*parts: str) -> str:
    """Returns Kubernetes' own words on one line, in brackets, for the end of a sentence."""
    said = ": ".join(flat for part in parts if (flat := " ".join(part.split()).rstrip(".")))
    return f" ({said})" if said else ""
