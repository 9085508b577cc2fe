"""Foreign words made fit to stand inside a sentence."""

import unicodedata

from backupexport_contract.reasons import ExitCode

# Controls, what turns a line around or hides in it, halves of characters, ends of lines.
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def one_line(text: str, longest: int) -> str:
    """`text` without what breaks a line or turns it around, of at most `longest` characters."""
    visible = "".join(
        " " if unicodedata.category(character) in _HARMFUL else character for character in text
    )
    flat = " ".join(visible.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


# 128 + SIGKILL: what a container ends with when the kernel kills it for its memory.  The
# operator reads the code together with a message as OutOfMemory.
EXIT_OUT_OF_MEMORY = 137


class Failure(Exception):  # noqa: N818 - what a task ends with, not a malfunction
    """The export can't go on; `message` is one sentence that says what to do."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message


def interrupted() -> Failure:
    """The end that SIGTERM asks for."""
    return Failure(
        ExitCode.INTERRUPTED,
        "The export was stopped before it was complete: start it again.",
    )


def cleanup_interrupted() -> Failure:
    """The end of a cleanup that SIGTERM came before."""
    return Failure(
        ExitCode.INTERRUPTED,
        "The cleanup was stopped before it was complete; it has to run again.",
    )


def delivery_interrupted() -> Failure:
    """The end of a delivery that SIGTERM came before."""
    return Failure(
        ExitCode.INTERRUPTED,
        "The delivery was stopped before it was done; it is tried again.",
    )


def unforeseen() -> Failure:
    """The verdict on an error that is no verdict."""
    return Failure(
        ExitCode.INTERNAL,
        "The runner failed in a way nobody foresaw: start the export again, and report the "
        "traceback in the pod's log if it repeats.",
    )


def unforeseen_in_delivery() -> Failure:
    """The same in a delivery, whose export is as good as before."""
    return Failure(
        ExitCode.INTERNAL,
        "The delivery failed in a way nobody foresaw; it is tried again: report the traceback in "
        "the pod's log if it repeats.",
    )


def malformed_delivery(problem: str) -> Failure:
    """The verdict on a delivery's Job that the operator can't have made."""
    return Failure(
        ExitCode.BAD_REQUEST,
        f"The delivery's Job is not as the operator makes it: {problem}; report a bug.",
    )
