"""Encryption to recipients of age, in constant memory.

pyrage asks for some KiB at a time, which it encrypts and hands on in pieces of 64 KiB.  It gets no
end of file before all pieces are there, and without that what is written can't be decrypted to an
end.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from backupexport_contract.reasons import ExitCode

from backupexport_runner.export.compression import Chunk
from backupexport_runner.task.failure import Failure


def keys_and_fingerprints(recipients: Sequence[str]) -> tuple[Sequence[Any], tuple[str, ...]]:
    """Returns what `encrypt` takes of the recipients, and their fingerprints.

    Raises Failure(RECIPIENT_INVALID).
    """
    if not recipients:
        return (), ()
    # Most exports do without pyrage.
    from backupexport_runtime.recipients import (  # noqa: PLC0415
        RecipientError,
        fingerprints,
        key_of,
    )

    try:
        return [key_of(recipient) for recipient in recipients], fingerprints(recipients)
    except RecipientError as error:
        raise Failure(
            ExitCode.RECIPIENT_INVALID,
            f"Nothing can be encrypted to one of the export's recipients ({error}): correct "
            "encryptTo, or encryption.recipients of the ExportTarget, then start the export again.",
        ) from None


def encrypt(
    pieces: Iterator[Chunk], put: Callable[[bytes], None], recipients: Sequence[Any]
) -> None:
    """Encrypts the pieces to `put`.  What either raises is raised."""
    import pyrage  # noqa: PLC0415

    between = _Between(pieces, put)
    try:
        pyrage.encrypt_io(between, between, recipients)
    except pyrage.EncryptError:
        # It has the words of what was raised, and nothing else of it.
        if between.raised is None:
            raise
    # What was raised as the last piece was written it doesn't tell at all.
    if between.raised is not None:
        raise between.raised


class _Between:
    """The file that pyrage reads, and the one that it writes."""

    def __init__(self, pieces: Iterator[Chunk], put: Callable[[bytes], None]) -> None:
        self._pieces, self._put = pieces, put
        self._left: Chunk = b""
        self.raised: BaseException | None = None

    def read(self, most: int) -> bytes:
        """Returns at most so many bytes, none at the end alone."""
        try:
            while not self._left:
                self._left = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as error:
            self.raised = error
            raise
        taken, self._left = bytes(self._left[:most]), self._left[most:]
        return taken

    def write(self, data: bytes) -> int:
        """Writes all of it."""
        try:
            self._put(data)
        except BaseException as error:
            self.raised = error
            raise
        return len(data)

    def flush(self) -> None:
        """Has nothing to do."""
