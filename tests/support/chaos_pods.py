"""What runners' pods say of themselves, and the promises that are judged by that; pure.

Times are seconds since the epoch as the node wrote them, which are whole: a pod that says 10 has
started, or ended, before 11.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backupexport_contract import timestamps
from backupexport_contract.reasons import ExitCode
from chaos_verdict import Export

_DAY = 86400.0
# A node doesn't lie by more than this unless its clock is set back by a day.
_SKEWED = 3600.0
# From a cancel to the last pod that may begin: operators may be away so long.
_CANCEL_SECONDS = 120.0


@dataclass(frozen=True)
class PodRun:
    """One runner's container, as its node told it last; `ended` is None if it never did."""

    name: str
    export: str
    project: str
    task: str
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class Mailing:
    """A mail that an accepted export wants; `must_come` is false for one that somebody deleted.

    `struck` is how often its attempts, or their Jobs, were hit.
    """

    export: str
    address: str
    must_come: bool
    struck: int = 0


@dataclass(frozen=True)
class Freeze:
    """A leader that was stopped until another one led; writes are counted by its own process.

    Those after are None where it was killed before it could tell.  `changes` are those that anybody
    made between the count and a second after the stop: a request under way then is answered later.
    """

    pod: str
    writes_before: int
    writes_after: int | None
    changes: int = 0


def moment(text: str | None, began: float) -> float | None:
    """Seconds since the epoch; a day is put back that a run which `began` then took away."""
    if text is None:
        return None
    at = timestamps.from_text(text).timestamp()
    return at + _DAY if at < began - _SKEWED else at


def node_moment(text: str | None, began: float) -> float | None:
    """The same; None for 1970, too, which a container that never started has."""
    return None if text is None or text.startswith("1970-01-01") else moment(text, began)


def too_many_at_once(runs: Iterable[PodRun], limits: Mapping[str, int]) -> list[str]:
    """No project had more exports at work at once than its target allows, by the pods' own times.

    A pod whose node never told its end isn't counted: nobody knows how long it ran.
    """
    of_project: dict[str, list[PodRun]] = defaultdict(list)
    for run in runs:
        if run.task == "export" and run.started is not None:
            of_project[run.project].append(run)
    return [
        f"project {project}: {', '.join(most)} at once, maxConcurrent is {limits[project]}"
        for project, its in sorted(of_project.items())
        if len(most := _most_at_once(its)) > limits[project]
    ]


def _most_at_once(runs: Iterable[PodRun]) -> list[str]:
    """The exports of the fullest moment.  In one second ends come first: it can't be told apart."""
    changes = []
    for run in runs:
        if run.started is not None and run.ended is not None and run.ended > run.started:
            changes += [(run.started, 1, run), (run.ended, 0, run)]
    at_work: list[str] = []
    most: list[str] = []
    for _, is_start, run in sorted(changes, key=lambda change: change[:2]):
        if is_start:
            at_work.append(run.export)
        else:
            at_work.remove(run.export)
        if len(set(at_work)) > len(most):
            most = sorted(set(at_work))
    return most


def early_ends(exports: Iterable[Export], runs: Iterable[PodRun]) -> list[str]:
    """No export ended without its file while a pod of it was still at work."""
    ended_of: dict[str, list[PodRun]] = defaultdict(list)
    for run in runs:
        if run.task == "export" and run.ended is not None:
            ended_of[run.export].append(run)
    return [
        f"{export.name}: {export.phase} {run.ended - export.completed:.0f} s before its pod "
        f"{run.name} ended"
        for export in exports
        if export.phase in ("Failed", "Cancelled") and export.completed is not None
        for run in ended_of[export.name]
        if run.ended is not None and run.ended > export.completed
    ]


def forgotten_cancels(cancelled: Mapping[str, float], runs: Iterable[PodRun]) -> list[str]:
    """What was cancelled began no attempt afterwards; the times of the answers, by export."""
    return [
        f"{run.export}: its pod {run.name} began {run.started - cancelled[run.export]:.0f} s after "
        "the cancel was accepted"
        for run in runs
        if run.task == "export"
        and run.started is not None
        and run.export in cancelled
        and run.started > cancelled[run.export] + _CANCEL_SECONDS
    ]


def wrong_mails(
    mailings: Iterable[Mailing],
    mails: Mapping[str, int],
    attempts: Mapping[str, Sequence[PodRun]],
) -> list[str]:
    """Who wants a mail gets one; more only where the answer to one may have been lost.

    `mails` counts those that came, by address, and `attempts` are the pods that sent, by export.
    """
    sins = []
    known = set()
    for mailing in mailings:
        known.add(mailing.address)
        came, its = mails.get(mailing.address, 0), attempts.get(mailing.export, ())
        unsure = sum(1 for run in its if run.exit_code != ExitCode.SUCCESS)
        most = 1 + unsure + mailing.struck
        if came == 0 and mailing.must_come:
            sins.append(f"{mailing.export}: no mail to {mailing.address}")
        if came > most:
            sins.append(
                f"{mailing.export}: {came} mails to {mailing.address}, and of {len(its)} attempts "
                f"{unsure} may have sent one without knowing it"
            )
    sins += [f"{address}: a mail that nobody wants" for address in sorted(mails.keys() - known)]
    return sins


def writes_after_thaw(freezes: Iterable[Freeze]) -> list[str]:
    """A leader that slept through its Lease's end sends no write when it wakes up."""
    return [
        f"{freeze.pod}: sent {sent} writes after its thaw, when another led"
        for freeze in freezes
        if freeze.writes_after is not None
        and (sent := freeze.writes_after - freeze.writes_before) > freeze.changes
    ]


def repeated(runs: Iterable[PodRun]) -> Collection[str]:
    """The exports that needed more than one attempt."""
    pods: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        if run.task == "export":
            pods[run.export].add(run.name)
    return {export for export, names in pods.items() if len(names) > 1}
