"""A job in words: its row in a table, its details, how it ended, and what to do next; pure."""

import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from backupexport_contract import timestamps
from backupexport_contract.readable import (
    readable_duration,
    readable_selection,
    readable_size,
)
from backupexport_contract.restore_commands import CAUTION, DECRYPTION, DumpFile, is_encrypted
from backupexport_contract.runner_protocol import PATTERN_LISTS, Selection

from backupexport_cli.output.clean import clean
from backupexport_cli.output.table import Column, Line, table_lines

Job = dict[str, Any]

_STYLES = {
    "pending": "yellow",
    "running": "blue",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
}
_SHORT_ID = 8
_WHOLE_ID_FROM = 100
_LABEL_WIDTH = 13


def status_style(status: str) -> str:
    """Return the style in which a status is shown."""
    return _STYLES.get(status, "")


def jobs_table(jobs: Sequence[Job], width: int, now: datetime) -> list[Line]:
    """Return the lines of a list of jobs."""
    ids = [str(job["job_id"]) for job in jobs]
    if width < _WHOLE_ID_FROM:
        ids = shortened(ids)
    columns = [
        Column("JOB", [(each, "") for each in ids], 9),
        Column("PROJECT", [(job["project_id"], "") for job in jobs], 7, may_shrink=True),
        Column("STATUS", [(job["status"], status_style(job["status"])) for job in jobs], 8),
        Column("DONE", [(done_text(job), "") for job in jobs], 5),
        Column("FORMAT", [(job["format"], "") for job in jobs], 3),
        Column("AGE", [(age(job["created_at"], now), "") for job in jobs], 6),
        Column("WHY", [(_reason(job), "") for job in jobs], 2),
    ]
    if not any(_reason(job) for job in jobs):
        columns.pop()
    return table_lines(columns, width)


def shortened(ids: Sequence[str]) -> list[str]:
    """Return the ids' beginnings, all of one length, by which they are told apart."""
    length = _SHORT_ID
    while len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return [each[:length] for each in ids]


def done_text(job: Job) -> str:
    """Return how far a job is, or how large its file."""
    if job["artifact"]:
        return readable_size(job["artifact"]["size_bytes"])
    if job["status"] == "running" and job["progress"]:
        return f"{min(job['progress']['percent'], 100)} %"
    return "-"


def age(time: str, now: datetime) -> str:
    """Return how long ago that was, in one unit."""
    # Clocks differ: what is still to come is now.
    seconds = max(0, int((now - timestamps.from_text(time)).total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def job_details(job: Job, width: int) -> list[Line]:
    """Return all that there is to know of a job, a fact a line."""
    facts: list[tuple[str, str, str]] = [
        ("Job", job["job_id"], "bold"),
        ("Project", job["project_id"], ""),
        ("Status", job["status"], status_style(job["status"])),
        ("Why", _why(job), "red" if job["status"] == "failed" else ""),
        ("Format", _form(job), ""),
        ("Selection", readable_selection(_selection(job)), ""),
        ("Directory", job["storage_path"] or "", ""),
        ("Asked by", job["requested_by"] or "", ""),
        ("Created", job["created_at"], ""),
        ("Started", job["started_at"] or "", ""),
        ("Ended", _ended(job), ""),
        ("Progress", _progress(job), ""),
    ]
    artifact = job["artifact"]
    if artifact:
        facts += [
            ("File", artifact["path"], ""),
            ("Storage", artifact["storage"] or "", ""),
            ("Size", _size(artifact), ""),
            ("SHA-256", artifact["sha256"], ""),
            ("Encrypted to", ", ".join(artifact["encrypted_to"] or ()), ""),
            ("Server", f"PostgreSQL {artifact['server_version']}", ""),
            ("Restore with", artifact["restore_with"] or "", ""),
        ]
    facts += [("Warning", each["message"], "yellow") for each in job["warnings"]]
    facts += [("Hint", each["message"], "") for each in job["restore_hints"]]
    if job["notification"]:
        facts.append(("Mail", _outcome(job["notification"]), ""))
    facts += [
        (clean(each["kind"], _LABEL_WIDTH - 1).capitalize(), _outcome(each), "")
        for each in job["deliveries"]
    ]
    return [line for label, value, style in facts for line in _fact(label, value, style, width)]


def state_text(job: Job) -> str:
    """Return one line for each state that a job goes through."""
    parts = [job["job_id"], job["project_id"], job["status"]]
    if job["status"] in ("pending", "running"):
        parts += [each for each in (_progress(job), _why(job)) if each]
    else:
        parts += [each for each in (done_text(job) if job["artifact"] else "", _why(job)) if each]
    return "  ".join(clean(each, 300) for each in parts)


def end_text(job: Job) -> list[str]:
    """Return how a job has ended, in sentences."""
    job_id, artifact = job["job_id"], job["artifact"]
    if job["status"] == "completed" and artifact:
        took = _duration(job)
        return [
            f"Job {job_id} is completed{f' after {took}' if took else ''}: "
            f"{readable_size(artifact['size_bytes'])}, SHA-256 {clean(artifact['sha256'], 64)}."
        ]
    return [f"Job {job_id} {_ENDS.get(job['status'], 'has not ended')}."]


def next_steps(job: Job, command: str = "backupexport") -> list[str]:
    """Return what there is to do with a job; `command` is what each of it begins with."""
    job_id = job["job_id"]
    if job["status"] == "completed":
        return [
            f"Fetch and check its file: {command} download {job_id}",
            f"See how it is restored: {command} restore-command {job_id}",
        ]
    if job["status"] in ("pending", "running"):
        return [
            f"Follow it: {command} watch {job_id}",
            f"Stop it: {command} cancel {job_id}",
        ]
    return [f"Ask for a new one: {command} export {job['project_id']}"]


def remarks(job: Job) -> list[str]:
    """Return what whoever uses the file must know."""
    return [clean(each["message"]) for each in job["warnings"]]


def failure_of(job: Job) -> tuple[str, str]:
    """Return the sentence for a job that has ended without a file, and what to do about it."""
    what = f"Job {job['job_id']} {_ENDS.get(job['status'], 'has ended without a file')}"
    if job["error"] and job["status"] == "failed":
        reason = clean(job["error"]["reason"], 60)
        return f"{what} ({reason}).", clean(job["error"]["message"])
    return f"{what}.", next_steps(job)[0]


def dump_file(job: Job) -> DumpFile:
    """Return what of a completed job's file says how it is restored."""
    artifact = job["artifact"]
    return DumpFile(
        path=artifact["path"],
        format=job["format"],
        compression=job["compression"] or "none",
        server_version=artifact["server_version"],
        dump_version=artifact["dump_version"],
        owner=job["owner"],
        privileges=job["privileges"],
    )


def restore_notes(job: Job, *, decrypted: bool = False) -> list[str]:
    """Return what stands beside the command that restores a file, or what it decrypts to."""
    artifact = job["artifact"]
    notes = [CAUTION]
    if is_encrypted(artifact["path"]) and not decrypted:
        notes.append(DECRYPTION)
    if artifact["restore_with"]:
        notes.append(f"It takes {clean(artifact['restore_with'], 300)}.")
    return notes + [clean(each["message"]) for each in job["restore_hints"]] + remarks(job)


_ENDS = {"failed": "has failed", "cancelled": "was cancelled", "completed": "is completed"}


def _fact(label: str, value: str, style: str, width: int) -> list[Line]:
    text = clean(value)
    if not text:
        return []
    room = max(20, width - _LABEL_WIDTH)
    # What is copied stays whole, whatever the width: paths, ids, checksums.
    wrapped = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    heads = [label, *[""] * (len(wrapped) - 1)]
    return [
        [(head.ljust(_LABEL_WIDTH), "dim"), (part, style)]
        for head, part in zip(heads, wrapped, strict=True)
    ]


def _reason(job: Job) -> str:
    return clean(job["error"]["reason"], 40) if job["error"] else ""


def _why(job: Job) -> str:
    return f"{job['error']['reason']}: {job['error']['message']}" if job["error"] else ""


def _form(job: Job) -> str:
    return f"{job['format']}, {job['compression'] or 'not compressed'}"


def _selection(job: Job) -> Selection:
    lists = {name: tuple(job[name]) for name in PATTERN_LISTS}
    return Selection(
        content=job["content"], owner=job["owner"], privileges=job["privileges"], **lists
    )


def _ended(job: Job) -> str:
    took = _duration(job)
    return f"{job['completed_at'] or ''}{f' (after {took})' if took else ''}"


def _duration(job: Job) -> str:
    if not (job["started_at"] and job["completed_at"]):
        return ""
    began, ended = (timestamps.from_text(job[name]) for name in ("started_at", "completed_at"))
    return readable_duration((ended - began).total_seconds())


def _progress(job: Job) -> str:
    progress = job["progress"]
    if not progress or job["status"] != "running":
        return ""
    sizes = f"{progress['percent']} %, {readable_size(progress['dumped_bytes'])} dumped"
    left = progress.get("seconds_left")
    return sizes if left is None else f"{sizes}, {readable_duration(left)} left"


def _size(artifact: dict[str, Any]) -> str:
    size, dump = artifact["size_bytes"], artifact["uncompressed_bytes"]
    whole = f"{readable_size(size)} ({size} bytes)"
    return f"{whole}; {readable_size(dump)} of dump" if dump != size else whole


def _outcome(told: dict[str, Any]) -> str:
    return f"{told['status']}: {told['message']}" if told["message"] else str(told["status"])
