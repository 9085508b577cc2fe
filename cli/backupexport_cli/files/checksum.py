"""The SHA-256 of a file that is still being written."""

import hashlib
import os
import threading

_PIECE_BYTES = 1024 * 1024


class FollowingChecksum:
    """Reads what was just written, in a thread of its own, while it is in memory anyway.

    So it is over what is on the disk, an earlier run's part too, without a second pass at the end.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the file's; it stays open for as long as this runs."""
        self._descriptor = descriptor
        self._digest = hashlib.sha256()
        self._reached = 0
        self._is_ended = False
        self._error: OSError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="checksum", daemon=True)
        self._thread.start()

    def reach(self, position: int) -> None:
        """All bytes before `position` are written."""
        with self._changed:
            if position > self._reached:
                self._reached = position
                self._changed.notify()

    def result(self) -> str:
        """Return the SHA-256 (hex) of what was reached; raises OSError where it can't be read."""
        self._end()
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()

    def stop(self) -> None:
        """Give up."""
        with self._changed:
            self._reached = 0
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._is_ended = True
            self._changed.notify()
        self._thread.join()

    def _follow(self) -> None:
        position = 0
        try:
            while (target := self._next_target(position)) > position:
                piece = _read(self._descriptor, min(_PIECE_BYTES, target - position), position)
                self._digest.update(piece)
                position += len(piece)
        except OSError as error:
            self._error = error

    def _next_target(self, position: int) -> int:
        with self._changed:
            while self._reached <= position and not self._is_ended:
                self._changed.wait()
            return self._reached


def _read(descriptor: int, count: int, position: int) -> bytes:
    piece = os.pread(descriptor, count, position)
    if not piece:
        raise OSError("the file became shorter")
    return piece


def sha256_of(descriptor: int, size: int) -> str:
    """Return the SHA-256 (hex) of the first `size` bytes of an open file; raises OSError."""
    digest, position = hashlib.sha256(), 0
    while position < size:
        piece = _read(descriptor, min(_PIECE_BYTES, size - position), position)
        digest.update(piece)
        position += len(piece)
    return digest.hexdigest()
