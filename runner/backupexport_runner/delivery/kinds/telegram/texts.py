"""What people read in the chat: plain text, which Telegram shows as it is."""

from collections.abc import Sequence

from backupexport_contract.readable import readable_size
from backupexport_contract.restore_commands import CAUTION, DECRYPTION, check_command
from backupexport_contract.runner_protocol import ExportEnd

from backupexport_runner.delivery.kinds.telegram.parts import Part, parts_glob
from backupexport_runner.task.failure import one_line
from backupexport_runner.task.request import Request

# https://core.telegram.org/bots/api#senddocument and #sendmessage
LONGEST_CAPTION = 1024
LONGEST_MESSAGE = 4096


def caption(request: Request, part: Part, count: int, sha256: str, end: ExportEnd) -> str:
    """Returns the text below a document."""
    warnings = end.artifact.warnings if end.artifact else ()
    which = f", part {part.number} of {count}" if count > 1 else ""
    lines = [
        f"Export of project {request.project_id}{which}",
        f"Size: {part.size} bytes ({readable_size(part.size)})",
        f"SHA-256: {sha256}",
        f"Format: {request.format}, compression: {request.compression}",
        f"Job: {request.job_id}",
    ]
    if request.is_encrypted:
        # Its command, which is longer, comes in a message.
        lines.append("Encrypted with age")
    elif count == 1:
        lines += [f"Restore: {end.restore_command}", CAUTION]
    if warnings:
        lines.append(f"Warnings: {len(warnings)}, which the job has over REST and on the web page")
    if end.contents:
        room = LONGEST_CAPTION - len("\n".join([*lines, "Contents: "]))
        lines.insert(4, f"Contents: {one_line(end.contents, room)}")
    return "\n".join(lines)


def restore_message(restore_command: str) -> str:
    """Returns the message after an encrypted file in one part."""
    return f"Restore: {restore_command}\n{DECRYPTION}\n{CAUTION}"


def closing_messages(
    request: Request,
    parts: Sequence[Part],
    part_sha256s: Sequence[str],
    sha256: str,
    restore_command: str,
) -> tuple[str, ...]:
    """Returns the messages after the parts, which say how to check, join and restore them.

    Each message with a list of checksums is a command of its own, so that it can be pasted.
    """
    name, count = request.file_name, len(parts)
    size = sum(part.size for part in parts)
    head = (
        f"The export of project {request.project_id} in {count} parts, "
        f"{size} bytes ({readable_size(size)}). Check the downloaded parts:\n"
    )
    tail = (
        f"Join the {count} parts, check the whole file and restore it:\n"
        f"cat {parts_glob(name, count)} > {name}\n"
        f"{check_command(name, sha256)}\n"
        f"{restore_command}\n" + (f"{DECRYPTION}\n" if request.is_encrypted else "") + CAUTION
    )
    lines = [f"{digest}  {part.name}" for part, digest in zip(parts, part_sha256s, strict=True)]
    lists = [
        "\n".join(("sha256sum -c <<'END'", *chunk, "END"))
        for chunk in _chunks(lines, LONGEST_MESSAGE - len(head) - 64)
    ]
    messages = [head + lists[0], *lists[1:]]
    if len(messages[-1]) + len(tail) + 2 <= LONGEST_MESSAGE:
        messages[-1] += "\n\n" + tail
    else:
        messages.append(tail)
    return tuple(messages)


def damaged_file_message(request: Request) -> str:
    """Returns the message about a file that has changed since parts of it were sent."""
    return (
        f"Don't use the parts of {request.file_name} above: the file on the export volume has "
        "changed since it was exported."
    )


def incomplete_parts_message(request: Request, sent: int, planned: int) -> str:
    """Returns the message about a file that is gone before all of its parts were sent."""
    return (
        f"The parts of {request.file_name} above are not all there: {sent} of {planned} were "
        "sent, and the file is not on the export volume any more."
    )


def success_sentence(size: int, count: int) -> str:
    """Returns the delivery's outcome."""
    parts = f" in {count} parts" if count > 1 else ""
    return f"Sent to the Telegram chat{parts} ({readable_size(size)})."


def _chunks(lines: Sequence[str], longest: int) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    room = longest
    for line in lines:
        if len(line) + 1 > room:
            chunks.append([])
            room = longest
        chunks[-1].append(line)
        room -= len(line) + 1
    return chunks
