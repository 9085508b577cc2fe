"""What the mail about an export's end says, before it is text or HTML."""

import re
import shlex
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from backupexport_contract import timestamps
from backupexport_contract.readable import readable_duration, readable_size
from backupexport_contract.reasons import Phase
from backupexport_contract.runner_protocol import Artifact, ExportEnd

from backupexport_runner.delivery import restore_commands
from backupexport_runner.task.failure import malformed_delivery, one_line
from backupexport_runner.task.request import Request

_LONGEST_TEXT = 2000


class Tone(StrEnum):
    """How the news is."""

    GOOD = "good"
    BAD = "bad"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the list; `is_code` where a machine reads the value."""

    label: str
    value: str
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: words, a page to open, and what to copy."""

    title: str
    text: str
    commands: tuple[str, ...] = ()
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """All that is said; every text is one line without control characters."""

    subject: str
    headline: str
    tone: Tone
    summary: str
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]
    footer: str


def content(request: Request, end: ExportEnd) -> Content:
    """The mail's content, or Failure(BAD_REQUEST) where the end is none."""
    # The operator's, but whether it can be told decides what arrives at people.
    texts = (end.reason, end.message, end.requested_by, end.api_url)
    if not all(text is None or isinstance(text, str) for text in texts):
        raise malformed_delivery("a text is none in EXPORT_END")
    completed = _moment(end.completed_at)
    if completed is None:
        raise malformed_delivery("completed_at is missing in EXPORT_END")
    if end.phase == Phase.SUCCEEDED:
        if end.artifact is None:
            raise malformed_delivery("artifact is missing in EXPORT_END")
        return _succeeded(request, end, end.artifact)
    if end.phase in (Phase.FAILED, Phase.CANCELLED):
        return _not_succeeded(request, end, Phase(end.phase))
    raise malformed_delivery("phase is not an end in EXPORT_END")


def completion_time(end: ExportEnd) -> datetime:
    """When the export ended, or Failure(BAD_REQUEST)."""
    completed = _moment(end.completed_at)
    if completed is None:
        raise malformed_delivery("completed_at is missing in EXPORT_END")
    return completed


def _succeeded(request: Request, end: ExportEnd, artifact: Artifact) -> Content:
    project = request.project_id
    facts = [
        Fact("Project", project, is_code=True),
        Fact("Size", _size(artifact.size_bytes)),
        Fact("Uncompressed", _size(artifact.uncompressed_bytes)),
        *_times(end),
        Fact("Format", request.format),
        Fact("Compression", request.compression),
        Fact("SHA-256", _line(artifact.sha256), is_code=True),
        Fact("PostgreSQL server", _line(artifact.server_version)),
        Fact("pg_dump", _line(artifact.dump_version)),
        Fact("Path on the volume", _line(artifact.path), is_code=True),
        *_people(request, end),
    ]
    if request.compression == "none":
        facts = [fact for fact in facts if fact.label != "Uncompressed"]
    expires = _moment(end.expires_at)
    kept = (
        f"The file is kept until {_time_words(expires)}; after that nobody can fetch it."
        if expires
        else "The file has no date of removal."
    )
    path = _line(artifact.path)
    steps = (
        _fetch(request, end, path),
        Step(
            "Check it",
            "In the directory with the file. The answer must end in OK.",
            (restore_commands.check_command(path, _line(artifact.sha256)),),
        ),
        Step(
            "Restore it",
            "Into an empty database in place of DATABASE, as a superuser, where the roles exist "
            "that own things or hold grants.",
            (restore_commands.restore_command(path, request.format, request.compression),),
        ),
    )
    return Content(
        subject=f"Export of {project} is ready",
        headline="The export is ready",
        tone=Tone.GOOD,
        summary=kept,
        facts=tuple(facts),
        steps=steps,
        footer=_footer(request),
    )


def _not_succeeded(request: Request, end: ExportEnd, phase: Phase) -> Content:
    project, is_failure = request.project_id, phase is Phase.FAILED
    message = _line(end.message or "")
    facts = [Fact("Project", project, is_code=True)]
    if is_failure:
        facts.append(Fact("Reason", _reason_words(end.reason)))
    if message:
        facts.append(Fact("Message", message))
    facts += [*_times(end), Fact("Format", request.format)]
    facts += [Fact("Compression", request.compression), *_people(request, end)]
    again = (
        "start a new export, over REST or on the web page:"
        if end.api_url
        else "start a new export as you started this one."
    )
    if is_failure:
        todo = Step(
            "What to do",
            "Do what the message says, or give it with the job's id to whoever runs the exports. "
            f"Then {again}",
            link=_page(request, end),
        )
    else:
        todo = Step(
            "What to do",
            f"Nothing, if that was meant. Otherwise {again}",
            link=_page(request, end),
        )
    return Content(
        subject=f"Export of {project} {'failed' if is_failure else 'was cancelled'}",
        headline="The export failed" if is_failure else "The export was cancelled",
        tone=Tone.BAD if is_failure else Tone.NEUTRAL,
        summary="There is no file of this export.",
        facts=tuple(facts),
        steps=(todo,),
        footer=_footer(request),
    )


def _fetch(request: Request, end: ExportEnd, path: str) -> Step:
    route = f"/api/jobs/{request.job_id}/download"
    if not end.has_downloads:
        return Step(
            "Fetch it",
            "Downloads are turned off here. Ask whoever runs the cluster for this path of the "
            "exports' volume:",
            (path,),
        )
    if not end.api_url:
        return Step(
            "Fetch it",
            "From the web page of the exports, or with a token for the project from this path of "
            "the API:",
            (route,),
        )
    base = _line(end.api_url).rstrip("/")
    command = (
        f"curl --fail -C - -o {shlex.quote(restore_commands.file_name(path))} "
        f'-H "Authorization: Bearer $TOKEN" {shlex.quote(base + route)}'
    )
    return Step(
        "Fetch it",
        "On the job's web page, or with this command and a token for the project in TOKEN; run "
        "again after a cut, the command goes on where it was:",
        (command,),
        link=_page(request, end),
    )


def _page(request: Request, end: ExportEnd) -> str | None:
    base = _line(end.api_url or "").rstrip("/")
    is_web = base.startswith(("https://", "http://"))
    return f"{base}/#/jobs/{request.job_id}" if is_web else None


def _times(end: ExportEnd) -> list[Fact]:
    started, completed = _moment(end.started_at), completion_time(end)
    facts = [Fact("Ended", _time_words(completed))]
    if started is not None:
        seconds = (completed - started).total_seconds()
        facts.insert(0, Fact("Duration", readable_duration(seconds)))
    return facts


def _people(request: Request, end: ExportEnd) -> list[Fact]:
    facts = [Fact("Job", request.job_id, is_code=True)]
    if end.requested_by:
        facts.append(Fact("Requested by", _line(end.requested_by)))
    return facts


def _footer(request: Request) -> str:
    return (
        f"This mail was sent because the export of {request.project_id} names your address. "
        "Nobody reads answers to it."
    )


def _size(count: int) -> str:
    size = readable_size(count)
    return size if size.endswith(" B") else f"{size} ({count:,} bytes)"


def _time_words(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _reason_words(reason: str | None) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", _line(reason or "Unknown")).split(" ")
    return " ".join([words[0], *(word.lower() for word in words[1:])])


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return timestamps.from_text(text)
    except (TypeError, ValueError):
        return None


def _line(text: str) -> str:
    return one_line(text, _LONGEST_TEXT)
