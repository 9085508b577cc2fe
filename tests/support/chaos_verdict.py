"""Whether a chaos run has kept the promises: pure functions of what was seen, each a list of sins.

A sin is one sentence for a person, with the object's name in it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FINISHED = ("Succeeded", "Failed", "Cancelled")
# What an export of a sound project may fail with, if the database was really away meanwhile.
_OF_THE_DATABASE = ("ConnectionFailed", "DumpFailed")


@dataclass(frozen=True)
class Accepted:
    """A request that got its 202."""

    key: str
    job_id: str
    project: str


@dataclass(frozen=True)
class Artifact:
    """What status.artifact says."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Export:
    """A BackupExport at the end; times are seconds since the epoch."""

    name: str
    project: str
    phase: str
    reason: str | None
    message: str | None
    attempts: int
    created: float
    completed: float | None
    artifact: Artifact | None


@dataclass(frozen=True)
class Outage:
    """A time in which the database did not serve everybody."""

    began: float
    ended: float


@dataclass(frozen=True)
class Expectation:
    """`fails_with`: the reasons of a project that can't be exported; none for a sound one."""

    outages: Sequence[Outage]
    attempts_allowed: int
    fails_with: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file on the volume; the checksum is None where nobody asked for it."""

    path: str
    size_bytes: int
    sha256: str | None = None


def not_one_each(accepted: Iterable[Accepted], exports: Iterable[Export]) -> list[str]:
    """Every accepted request has one BackupExport of its own, and nobody else has one."""
    accepted = list(accepted)
    promised = {request.job_id for request in accepted}
    there = {export.name for export in exports}
    shared = [
        f"{job_id}: one job for {count} requests"
        for job_id, count in Counter(request.job_id for request in accepted).items()
        if count > 1
    ]
    lost = [f"{name}: accepted, but there is no BackupExport" for name in promised - there]
    extra = [f"{name}: a BackupExport that nobody got a 202 for" for name in there - promised]
    return sorted(shared + lost + extra)


def unfinished(exports: Iterable[Export]) -> list[str]:
    """Every export has come to an end."""
    return [
        f"{export.name}: still {export.phase} ({export.reason}: {export.message})"
        for export in exports
        if export.phase not in FINISHED
    ]


def second_jobs(jobs: Mapping[str, Iterable[str]]) -> list[str]:
    """At most one export Job each, ever: the uids of all Jobs that there have been, by export."""
    return [
        f"{name}: {len(uids)} export Jobs, {', '.join(sorted(uids))}"
        for name, uids in ((name, set(seen)) for name, seen in sorted(jobs.items()))
        if len(uids) > 1
    ]


def changed_after_the_end(history: Mapping[str, Sequence[str]]) -> list[str]:
    """A finished phase never changes again: all phases seen, in their order, by export."""
    sins = []
    for name, phases in sorted(history.items()):
        last = next((number for number, phase in enumerate(phases) if phase in FINISHED), None)
        if last is not None and set(phases[last:]) != {phases[last]}:
            sins.append(f"{name}: was {phases[last]} and became {' -> '.join(phases[last + 1 :])}")
    return sins


def too_many_at_once(at_once: Mapping[str, Sequence[str]], limits: Mapping[str, int]) -> list[str]:
    """No project had more live export pods at once than its target allows."""
    return [
        f"project {project}: {', '.join(pods)} at once, maxConcurrent is {limits[project]}"
        for project, pods in sorted(at_once.items())
        if len(pods) > limits[project]
    ]


def untrue_ends(exports: Iterable[Export], expected: Expectation) -> list[str]:
    """Every end is true: a sound project fails only of its database, an unsound one of its flaw."""
    return [
        f"{export.name} ({export.project}): {export.phase} {export.reason} after "
        f"{export.attempts} attempts: {why}. It said: {export.message}"
        for export in exports
        if (why := _untruth(export, expected)) is not None
    ]


def _untruth(export: Export, expected: Expectation) -> str | None:
    flaws = expected.fails_with.get(export.project, frozenset())
    if export.phase == "Succeeded":
        if flaws:
            return f"this can't succeed, it has to fail with {' or '.join(sorted(flaws))}"
        return None if export.artifact else "succeeded without an artifact"
    if export.phase == "Cancelled":
        return "nobody cancelled it"
    if export.phase != "Failed" or export.reason in flaws:
        return None if export.phase != "Failed" or export.message else "a failure without a message"
    if export.reason not in _OF_THE_DATABASE:
        return "no fault of the run makes this reason true"
    if not _was_away(export, expected.outages):
        return "the database was there all the time"
    if export.attempts < expected.attempts_allowed:
        return f"it can heal, and {expected.attempts_allowed} attempts are allowed"
    return None if export.message else "a failure without a message"


def _was_away(export: Export, outages: Sequence[Outage]) -> bool:
    end = float("inf") if export.completed is None else export.completed
    return any(outage.began <= end and outage.ended >= export.created for outage in outages)


def wrong_files(files: Iterable[File], exports: Iterable[Export]) -> list[str]:
    """The volume holds the artifacts and manifests of what succeeded, as recorded, and no more."""
    there = {file.path: file for file in files}
    sins, known = [], set()
    for export in exports:
        if export.artifact is None:
            continue
        artifact, file = export.artifact, there.get(export.artifact.path)
        known |= {artifact.path, f"{artifact.path}.json"}
        if file is None:
            sins.append(f"{export.name}: {artifact.path} is not on the volume")
        elif (file.size_bytes, file.sha256) != (artifact.size_bytes, artifact.sha256):
            sins.append(
                f"{export.name}: {artifact.path} has {file.size_bytes} bytes, {file.sha256}; "
                f"recorded are {artifact.size_bytes}, {artifact.sha256}"
            )
        if f"{artifact.path}.json" not in there:
            sins.append(f"{export.name}: {artifact.path} has no manifest")
    for path in sorted(there.keys() - known):
        what = "a partial file" if path.endswith(".partial") else "a file of no successful export"
        sins.append(f"{path}: {what} is left on the volume")
    return sins


def wrong_contents(
    restored: Mapping[str, str], source: Mapping[str, str], exports: Iterable[Export]
) -> list[str]:
    """Every artifact restores to what its database holds: fingerprints by export and by project."""
    return [
        f"{export.name}: restores to {restored.get(export.name, 'nothing')}, "
        f"and {export.project} is {source[export.project]}"
        for export in exports
        if export.phase == "Succeeded" and restored.get(export.name) != source[export.project]
    ]
