"""How a command ends: its exit codes, and the error that carries one with words for a person."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    GOOD = 0
    FAILED = 1
    """The export has failed or was cancelled, or the server refused what was asked."""
    USAGE = 2
    """The command, or a field of the request, is not as it must be."""
    NOT_ALLOWED = 3
    """There is no token, or it is not good for this."""
    NOT_FOUND = 4
    """No such project, job, file or context, or none that the token may see."""
    UNREACHABLE = 5
    """The server can't be reached, or can't serve for now."""
    CORRUPT = 6
    """The file is not the one that was exported: its checksum or its encryption says so."""
    STOPPED = 130
    """The user has stopped the command."""


class CliError(Exception):
    """Ends the command."""

    def __init__(
        self, exit_code: ExitCode, message: str, advice: str = "", *, code: str = ""
    ) -> None:
        """`message` is one sentence, `advice` another that says what to do.

        `code` is the server's word for the error, where it gave one.
        """
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.advice = advice
        self.code = code
