"""A failure ends a task: an exit code, and one sentence that says what to do."""

import unicodedata

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import TASK_EXPORT, delivery_kind

# Control characters, characters that reverse a line or are invisible in it, lone surrogates, and
# the separators of lines and paragraphs.
_UNPRINTED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class Failure(Exception):  # noqa: N818 - what a task ends with, not a malfunction
    """Ends the task with `exit_code`; `message` is one sentence that says what to do."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message


def interrupted(task: str = TASK_EXPORT) -> Failure:
    """Returns the failure of a task that SIGTERM has ended."""
    if delivery_kind(task) is not None:
        message = "The delivery was stopped before it was done; it is tried again."
    elif task == TASK_EXPORT:
        message = "The export was stopped before it was complete: start it again."
    else:
        message = "The cleanup was stopped before it was complete; it has to run again."
    return Failure(ExitCode.INTERRUPTED, message)


def unforeseen(task: str) -> Failure:
    """Returns the failure of a task that ended with any other exception."""
    message = (
        "The delivery failed in a way nobody foresaw; it is tried again: report the traceback in "
        "the pod's log if it repeats."
        if delivery_kind(task) is not None
        else "The runner failed in a way nobody foresaw: start the export again, and report the "
        "traceback in the pod's log if it repeats."
    )
    return Failure(ExitCode.INTERNAL, message)


def malformed_delivery(problem: str) -> Failure:
    """Returns the failure of a delivery whose Job the operator can't have made."""
    return Failure(
        ExitCode.BAD_REQUEST,
        f"The delivery's Job is not as the operator makes it: {problem}; report a bug.",
    )


def one_line(text: str, longest: int) -> str:
    """Returns others' `text` fit for a sentence: printed, single spaces, at most `longest` long."""
    visible = "".join(
        " " if unicodedata.category(character) in _UNPRINTED_CATEGORIES else character
        for character in text
    )
    flat = " ".join(visible.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
