"""What the mail about an export's end says, before a template makes it text or HTML."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from backupexport_contract import restore_commands, timestamps
from backupexport_contract.readable import readable_duration, readable_size
from backupexport_contract.reasons import Phase
from backupexport_contract.runner_protocol import Artifact, ExportEnd, Remark

from backupexport_runner.task.failure import malformed_delivery, one_line
from backupexport_runner.task.request import Request

_LONGEST_TEXT = 2000
# What has become of an export, and the tone of that.
_NEWS: dict[str, tuple[str, str]] = {
    Phase.SUCCEEDED: ("is ready", "good"),
    Phase.FAILED: ("failed", "bad"),
    Phase.CANCELLED: ("was cancelled", "neutral"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the list; `is_code` if people copy the value for a machine."""

    label: str
    value: str
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do or to know: words, points of a list, a page to open, and what to copy."""

    title: str
    text: str
    commands: tuple[str, ...] = ()
    link: str | None = None
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """Everything the mail says; each text is one line without control characters.

    `tone` says what kind of news it is (good, bad, neutral); the page shows it by a colour.
    """

    subject: str
    headline: str
    tone: str
    summary: str
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]
    footer: str


def content(request: Request, end: ExportEnd) -> Content:
    """Returns the mail's content.  Raises Failure(BAD_REQUEST) if `end` is not complete."""
    for name in ("reason", "message", "requested_by", "api_url", "contents"):
        if not isinstance(getattr(end, name), str | None):
            raise malformed_delivery(f"{name} in EXPORT_END is not a text")
    news = _NEWS.get(end.phase)
    if news is None:
        raise malformed_delivery("phase in EXPORT_END is not the end of an export")
    artifact = end.artifact if end.phase == Phase.SUCCEEDED else None
    if end.phase == Phase.SUCCEEDED and artifact is None:
        raise malformed_delivery("artifact is missing in EXPORT_END")
    verb, tone = news
    expires = _moment(end.expires_at)
    summary = "The file has no date of removal."
    if artifact is None:
        summary = "There is no file of this export."
    elif expires:
        summary = f"The file is kept until {_time_words(expires)}; after that nobody can fetch it."
    return Content(
        subject=f"Export of {request.project_id} {verb}",
        headline=f"The export {verb}",
        tone=tone,
        summary=summary,
        facts=tuple(fact for fact in _facts(request, end, artifact) if fact.value),
        steps=_steps_with_file(request, end, artifact) if artifact else _what_to_do(request, end),
        footer=f"This mail was sent because the export of {request.project_id} names your address. "
        "Nobody reads answers to it.",
    )


def completion_time(end: ExportEnd) -> datetime:
    """Returns when the export ended.  Raises Failure(BAD_REQUEST)."""
    completed = _moment(end.completed_at)
    if completed is None:
        raise malformed_delivery("completed_at is missing in EXPORT_END")
    return completed


def _facts(request: Request, end: ExportEnd, artifact: Artifact | None) -> Iterator[Fact]:
    yield Fact("Project", request.project_id, is_code=True)
    if artifact:
        yield Fact("Size", _size(artifact.size_bytes))
        if artifact.uncompressed_bytes != artifact.size_bytes:
            yield Fact("Uncompressed", _size(artifact.uncompressed_bytes))
    else:
        if end.phase == Phase.FAILED:
            yield Fact("Reason", _reason_words(end.reason))
        yield Fact("Message", _line(end.message or ""))
    started, completed = _moment(end.started_at), completion_time(end)
    if started:
        yield Fact("Duration", readable_duration((completed - started).total_seconds()))
    yield Fact("Ended", _time_words(completed))
    yield Fact("Contents", _line(end.contents))
    yield Fact("Format", request.format)
    yield Fact("Compression", request.compression)
    if artifact:
        yield Fact("Encrypted to", _line(", ".join(artifact.encrypted_to)), is_code=True)
        yield Fact("SHA-256", _line(artifact.sha256), is_code=True)
        yield Fact("PostgreSQL server", _line(artifact.server_version))
        yield Fact("pg_dump", _line(artifact.dump_version))
        yield Fact("Restore with", _line(artifact.restore_with))
        yield Fact("Path on the volume", _line(artifact.path), is_code=True)
    yield Fact("Job", request.job_id, is_code=True)
    yield Fact("Requested by", _line(end.requested_by or ""))


def _what_to_do(request: Request, end: ExportEnd) -> tuple[Step, ...]:
    advice = (
        "Do what the message says, or give it with the job's id to whoever runs the exports. Then"
        if end.phase == Phase.FAILED
        else "Nothing, if that was meant. Otherwise"
    )
    again = "start a new export as you started this one."
    if end.api_url:
        again = "start a new export, over REST or on the web page:"
    return (Step("What to do", f"{advice} {again}", link=_page(request, end)),)


def _steps_with_file(request: Request, end: ExportEnd, artifact: Artifact) -> tuple[Step, ...]:
    path = _line(artifact.path)
    warnings, hints = _messages(artifact.warnings), _messages(artifact.restore_hints)
    decryption = f"{restore_commands.DECRYPTION} " if artifact.encrypted_to else ""
    known = "The file is whole. What whoever uses it should know:"
    return (
        *([Step("Warnings", known, points=warnings)] if warnings else []),
        _fetch(request, end, path),
        Step(
            "Check it",
            "In the directory with the file. The answer must end in OK.",
            (restore_commands.check_command(path, _line(artifact.sha256)),),
        ),
        Step(
            "Restore it",
            "Into an empty database in place of DATABASE, where the roles exist that own things or "
            f"hold grants. {decryption}{restore_commands.CAUTION}",
            (_line(end.restore_command),),
            points=hints,
        ),
    )


def _messages(remarks: tuple[Remark, ...]) -> tuple[str, ...]:
    return tuple(_line(remark.message) for remark in remarks)


def _fetch(request: Request, end: ExportEnd, path: str) -> Step:
    route = f"/api/jobs/{request.job_id}/download"
    if not end.has_downloads:
        return Step(
            "Fetch it",
            "Downloads are turned off here. Ask whoever runs the cluster for this path of the "
            "exports' storage:",
            (path,),
        )
    if not end.api_url:
        return Step(
            "Fetch it",
            "From the web page of the exports, or with a token for the project from this path of "
            "the API:",
            (route,),
        )
    url = _line(end.api_url).rstrip("/") + route
    command = (
        f"curl --fail -L -C - -o {shlex.quote(restore_commands.file_name(path))} "
        f'-H "Authorization: Bearer $TOKEN" {shlex.quote(url)}'
    )
    return Step(
        "Fetch it",
        "On the job's web page, or with this command and a token for the project in TOKEN; run "
        "again after a cut, the command goes on where it was:",
        (command,),
        _page(request, end),
    )


def _page(request: Request, end: ExportEnd) -> str | None:
    base = _line(end.api_url or "").rstrip("/")
    is_web = base.startswith(("https://", "http://"))
    return f"{base}/#/jobs/{request.job_id}" if is_web else None


def _size(count: int) -> str:
    size = readable_size(count)
    return size if size.endswith(" B") else f"{size} ({count:,} bytes)"


def _time_words(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _reason_words(reason: str | None) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", _line(reason or "Unknown")).split(" ")
    return " ".join([words[0], *(word.lower() for word in words[1:])])


def _moment(text: str | None) -> datetime | None:
    try:
        return timestamps.from_text(text or "")
    except (TypeError, ValueError):
        return None


def _line(text: str) -> str:
    return one_line(text, _LONGEST_TEXT)
