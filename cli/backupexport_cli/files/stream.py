"""A file as it comes, for whoever reads it at once: in order, over one connection at a time."""

import hashlib
import time
from collections.abc import Callable, Iterator

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.answer import ChangedError, read_answer
from backupexport_cli.files.body import Body, CutError
from backupexport_cli.files.patience import Patience
from backupexport_cli.files.transfer import FileSource, may_pass
from backupexport_cli.files.wanted import WantedFile


def streamed(
    source: FileSource, wanted: WantedFile, sleep: Callable[[float], None] = time.sleep
) -> Iterator[bytes]:
    """Yield the file's bytes, cuts bridged.

    Raises CliError, with exit code 6 after the last byte where it was not the exported file.
    """
    digest, position = hashlib.sha256(), 0
    etag: str | None = None
    patience = Patience()
    while position < wanted.size:
        why: CliError | str
        try:
            with source.open_file(wanted.job_id, position, None, etag) as response:
                part = read_answer(response.status_code, response.headers, wanted, position, etag)
                etag = etag or part.etag
                at = part.span.start
                for piece in Body(response).pieces():
                    # What comes before is of a server that sends the whole file only.
                    new = bytes(piece[max(0, position - at) :][: wanted.size - position])
                    at += len(piece)
                    if new:
                        digest.update(new)
                        position += len(new)
                        patience.progressed()
                        yield new
            why = "the answer ended early"
        except ChangedError:
            raise CliError(
                ExitCode.CORRUPT,
                "The file has changed on the server while it was fetched.",
                "Throw away what came, and run the command again.",
            ) from None
        except CutError as error:
            why = str(error)
        except CliError as error:
            if not may_pass(error):
                raise
            why = error
        if position < wanted.size:
            _wait(patience, why, sleep)
    if digest.hexdigest() != wanted.sha256:
        raise corrupt(wanted, "Throw away what came: it is not what was exported.")


def corrupt(wanted: WantedFile, advice: str) -> CliError:
    """Return the error for a file with another checksum."""
    return CliError(
        ExitCode.CORRUPT,
        f"{wanted.name} came with another SHA-256 than the export has.",
        advice,
    )


def _wait(patience: Patience, why: CliError | str, sleep: Callable[[float], None]) -> None:
    pause = patience.pause()
    if pause is not None:
        sleep(pause)
        return
    if isinstance(why, CliError):
        raise why
    raise CliError(
        ExitCode.UNREACHABLE,
        f"The connection was cut again and again ({why}).",
        "Throw away what came, and fetch it into a file: that can be gone on with.",
    )


class StreamReader:
    """What is streamed, for whoever reads by count."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """`pieces` are read to their end only as far as is asked for."""
        self._pieces = pieces
        self._held = b""
        self.error: CliError | None = None
        """Why there was no more, where that was no end."""

    def read(self, count: int = -1) -> bytes:
        """Return at most `count` bytes, none at the end; raises OSError after a CliError."""
        if not self._held:
            try:
                self._held = next(self._pieces, b"")
            except CliError as error:
                self.error = error
                raise OSError("the stream failed") from None
        piece = self._held if count < 0 else self._held[:count]
        self._held = self._held[len(piece) :]
        return piece

    def drain(self) -> None:
        """Read to the end, where the checksum is compared; raises CliError."""
        for _ in self._pieces:
            pass
