"""Whether a chaos run has kept the promises: pure functions of what was seen, each a list of sins.

A sin is one sentence for a person, with the object's name in it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FINISHED = ("Succeeded", "Failed", "Cancelled")
# What an export of a sound project may fail with, if the database was really away meanwhile.
_OF_THE_DATABASE = ("ConnectionFailed", "DumpFailed")
# No operator may have seen an export this young, so that it never had its target.
_UNSEEN_SECONDS = 25.0


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
    """A BackupExport as it was seen last; times are seconds since the epoch."""

    name: str
    project: str
    phase: str
    reason: str | None
    message: str | None
    attempts: int
    created: float
    completed: float | None
    artifact: Artifact | None
    expires: float | None = None


@dataclass(frozen=True)
class Outage:
    """A time in which the database did not serve everybody, a volume was full, a target away."""

    began: float
    ended: float


@dataclass(frozen=True)
class Expectation:
    """What the run did that may show in an export's end.

    `outages` are the database's, `full` the volume's.  `fails_with`: the reasons of a project that
    can't be exported; none for a sound one.  `cancelled` are the exports that somebody asked to
    cancel, `jobless` those whose Job somebody deleted, `struck` those that lost a runner; `away`
    tells of each project's target.
    """

    outages: Sequence[Outage]
    attempts_allowed: int
    fails_with: Mapping[str, frozenset[str]] = field(default_factory=dict)
    full: Sequence[Outage] = ()
    cancelled: Collection[str] = ()
    jobless: Collection[str] = ()
    struck: Collection[str] = ()
    away: Mapping[str, Sequence[Outage]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gone:
    """A BackupExport that is no more: as it was last, and when a watch told of its end."""

    export: Export
    at: float


@dataclass(frozen=True)
class Refusal:
    """A good request that was told at `at` that there is no such project."""

    key: str
    project: str
    at: float


@dataclass(frozen=True)
class File:
    """A file on the volume; the checksum is None where nobody asked for it."""

    path: str
    size_bytes: int
    sha256: str | None = None


def not_one_each(
    accepted: Iterable[Accepted], exports: Iterable[Export], excused: Collection[str] = ()
) -> list[str]:
    """Every accepted request has one BackupExport of its own, and nobody else has one.

    `excused` are those that somebody deleted, or whose time was over.
    """
    accepted = list(accepted)
    promised = {request.job_id for request in accepted}
    there = {export.name for export in exports}
    shared = [
        f"{job_id}: one job for {count} requests"
        for job_id, count in Counter(request.job_id for request in accepted).items()
        if count > 1
    ]
    missing = promised - there - set(excused)
    lost = [f"{name}: accepted, but there is no BackupExport" for name in missing]
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


def unkept(
    gone: Iterable[Gone], exports: Iterable[Export], deleted: Collection[str], now: float
) -> list[str]:
    """An export goes when its own time is over, and none before or for another reason."""
    sins = []
    for each in gone:
        name, expires = each.export.name, each.export.expires
        if name in deleted:
            continue
        if expires is None:
            sins.append(f"{name}: is gone, though nobody deleted it and it has no retention")
        elif each.at < expires:
            sins.append(f"{name}: is gone {expires - each.at:.0f} s before its time is over")
    sins += [
        f"{export.name}: its time is over for {now - export.expires:.0f} s, and it is still there"
        for export in exports
        if export.expires is not None and export.expires < now
    ]
    return sins


def changed_retention(
    accepted_with: Mapping[str, int | None], exports: Iterable[Export], slack: float = 300.0
) -> list[str]:
    """The retention that an export was accepted with is the one it is kept for, in seconds.

    The operator may have seen the end up to `slack` later.
    """
    sins = []
    for export in exports:
        if export.name not in accepted_with or export.completed is None:
            continue
        wanted = accepted_with[export.name]
        kept = None if export.expires is None else export.expires - export.completed
        is_kept = (
            kept is None
            if wanted is None
            else kept is not None and (wanted <= kept <= wanted + slack)
        )
        if not is_kept:
            told = "for good" if kept is None else f"for {kept:.0f} s"
            meant = "for good" if wanted is None else f"for {wanted} s"
            sins.append(f"{export.name}: was accepted to be kept {meant}, and is kept {told}")
    return sins


def refused_for_nothing(
    refusals: Iterable[Refusal], away: Mapping[str, Sequence[Outage]]
) -> list[str]:
    """Nobody is told that there is no such project while its target is there."""
    return [
        f"{refusal.key}: was told that there is no project {refusal.project}, whose target was "
        "there all the time"
        for refusal in refusals
        if not any(
            outage.began <= refusal.at <= outage.ended for outage in away.get(refusal.project, ())
        )
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
        return None if export.name in expected.cancelled else "nobody cancelled it"
    if export.phase != "Failed" or export.reason in flaws or _is_struck(export, expected):
        return None if export.phase != "Failed" or export.message else "a failure without a message"
    if export.reason not in _OF_THE_DATABASE:
        return "no fault of the run makes this reason true"
    if not _was_away(export, expected.outages):
        return "the database was there all the time"
    if export.attempts < expected.attempts_allowed:
        return f"it can heal, and {expected.attempts_allowed} attempts are allowed"
    return None if export.message else "a failure without a message"


def _is_struck(export: Export, expected: Expectation) -> bool:
    """Whether the run did to the export what its reason says."""
    if export.reason == "JobDeleted":
        return export.name in expected.jobless
    if export.reason == "TargetNotFound":
        return any(
            outage.began - _UNSEEN_SECONDS <= export.created <= outage.ended
            for outage in expected.away.get(export.project, ())
        )
    if export.reason == "Internal":
        # The last of all attempts was killed.
        has_used_all = export.attempts >= expected.attempts_allowed
        return has_used_all and export.name in expected.struck
    return export.reason == "StorageFull" and _was_away(export, expected.full)


def _was_away(export: Export, outages: Sequence[Outage]) -> bool:
    end = float("inf") if export.completed is None else export.completed
    return any(outage.began <= end and outage.ended >= export.created for outage in outages)


def wrong_files(
    files: Iterable[File],
    exports: Iterable[Export],
    deleted: Iterable[Export] = (),
    expired: Iterable[Export] = (),
    fleeting: Iterable[Export] = (),
) -> list[str]:
    """The volume holds the artifacts and manifests of what succeeded, as recorded, and no more.

    `deleted` are exports that somebody deleted: their files stay, and one that was whole when its
    export went before its end may be there.  The files of those that `expired` are gone; those of
    the `fleeting`, which were deleted when their time was about to be over, may be there or not;
    of both there may be tombstones.
    """
    exports, deleted, expired, fleeting = map(list, (exports, deleted, expired, fleeting))
    there = {file.path: file for file in files}
    sins, known = [], set()
    for export in (*exports, *deleted):
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
    unrecorded = {export.name for export in deleted if export.artifact is None}
    unrecorded |= {export.name for export in fleeting}
    known |= {path for path in there if _is_whole_of(path, unrecorded, there)}
    removed = {export.name for export in (*expired, *fleeting)}
    known |= {path for path in there if _is_tombstone_of(path, removed)}
    phase_of = {export.name: export.phase for export in exports}
    gone = {export.name for export in expired}
    return sins + [
        f"{path}: {_what_is_left(path, phase_of, gone)} is left on the volume"
        for path in sorted(there.keys() - known)
    ]


def _is_whole_of(path: str, names: Collection[str], there: Collection[str]) -> bool:
    artifact = path.removesuffix(".json")
    is_pair = {artifact, f"{artifact}.json"} <= set(there)
    return is_pair and not _is_partial(path) and _is_of(path, names)


def _is_of(path: str, names: Iterable[str]) -> bool:
    return any(name in path for name in names)


def _is_tombstone_of(path: str, names: Collection[str]) -> bool:
    file_name = path.rpartition("/")[2]
    is_one = file_name.startswith(".") and file_name.endswith(".removed")
    return is_one and any(name in file_name for name in names)


def _what_is_left(path: str, phase_of: Mapping[str, str], expired: Collection[str]) -> str:
    if _is_partial(path):
        return "a partial file"
    if _is_of(path, expired):
        return "a file whose time is over"
    phase = next((phase for name, phase in phase_of.items() if name in path), None)
    if phase == "Succeeded":
        return "a second file of one export"
    if phase == "Failed":
        return "a whole file of an export that is said to have failed"
    return "a file of no successful export"


def _is_partial(path: str) -> bool:
    return path.endswith(".partial")


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


def others_data(restored: Mapping[str, str], exports: Iterable[Export]) -> list[str]:
    """No file holds another project's data: a fingerprint begins with the name of its project."""
    return [
        f"{export.name}: a file of {export.project} holds the data of {whose}"
        for export in exports
        if export.name in restored
        and (whose := restored[export.name].partition(" ")[0]) != export.project
    ]
