"""The SHA-256 of a file that is still being written."""

import hashlib
import threading
from collections import deque

# It stays in the processor's cache.
_PIECE_BYTES = 256 * 1024
# Of pieces in memory that wait for their turn.
_MOST_WAITING_BYTES = 8 * 1024 * 1024


class FollowingChecksum:
    """Takes each piece as it is written, in a thread of its own; no second pass at the end.

    What is not at hand it reads from the file: an earlier run's part, what another connection has
    fetched ahead of its turn, and what came while too much was waiting.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the file's; it stays open for as long as this runs."""
        self._reader = _Reader(descriptor)
        self._reached = 0
        self._waiting: deque[tuple[int, bytes | memoryview]] = deque()
        self._waiting_bytes = 0
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

    def wrote(self, piece: bytes | memoryview, position: int) -> None:
        """`piece` is written at `position`; it is kept, so nobody may change it any more."""
        with self._changed:
            # What comes ahead of its turn is read when `reach` has told of all before it.
            if position != self._reached:
                return
            self._reached += len(piece)
            if self._waiting_bytes + len(piece) <= _MOST_WAITING_BYTES:
                self._waiting.append((position, piece))
                self._waiting_bytes += len(piece)
            self._changed.notify()

    def result(self) -> str:
        """Return the SHA-256 (hex) of what was reached; raises OSError where it can't be read."""
        self._end()
        if self._error is not None:
            raise self._error
        return self._reader.digest.hexdigest()

    def stop(self) -> None:
        """Give up."""
        with self._changed:
            self._reached = 0
            self._waiting.clear()
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._is_ended = True
            self._changed.notify()
        self._thread.join()

    def _follow(self) -> None:
        try:
            while (found := self._next(self._reader.position)) is not None:
                if isinstance(found, int):
                    self._reader.read_to(found)
                else:
                    self._reader.take(found)
        except OSError as error:
            self._error = error

    def _next(self, position: int) -> int | bytes | memoryview | None:
        """Return the next piece, or up to where it is read from the file; None at the end."""
        with self._changed:
            while self._reached <= position and not self._is_ended:
                self._changed.wait()
            if self._reached <= position:
                return None
            if not self._waiting:
                return self._reached
            start, piece = self._waiting[0]
            if start > position:
                return start
            self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            return piece


class _Reader:
    """Feeds a digest from the beginning of a file, through one small buffer."""

    def __init__(self, descriptor: int) -> None:
        self.position = 0
        self.digest = hashlib.sha256()
        self._file = open(descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115
        self._buffer = memoryview(bytearray(_PIECE_BYTES))

    def read_to(self, end: int) -> None:
        """Raise OSError where the file ends before."""
        # Nobody else uses the descriptor's own position.
        self._file.seek(self.position)
        while self.position < end:
            count = self._file.readinto(self._buffer[: end - self.position])
            if not count:
                raise OSError("the file became shorter")
            self.take(self._buffer[:count])

    def take(self, piece: bytes | memoryview) -> None:
        """Take what comes next."""
        self.digest.update(piece)
        self.position += len(piece)


def sha256_of(descriptor: int, size: int) -> str:
    """Return the SHA-256 (hex) of the first `size` bytes of an open file; raises OSError."""
    reader = _Reader(descriptor)
    reader.read_to(size)
    return reader.digest.hexdigest()
