"""The SHA-256 of a file that is still being written."""

import hashlib
import threading

# It stays in the processor's cache.
_PIECE_BYTES = 256 * 1024


class FollowingChecksum:
    """Reads what was just written, in a thread of its own, while it is in memory anyway.

    So it is over what is on the disk, an earlier run's part too, without a second pass at the end.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the file's; it stays open for as long as this runs."""
        self._reader = _Reader(descriptor)
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
        return self._reader.digest.hexdigest()

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
        try:
            while (target := self._next_target(self._reader.position)) > self._reader.position:
                self._reader.read_to(target)
        except OSError as error:
            self._error = error

    def _next_target(self, position: int) -> int:
        with self._changed:
            while self._reached <= position and not self._is_ended:
                self._changed.wait()
            return self._reached


class _Reader:
    """Feeds a digest from the beginning of a file, through one small buffer."""

    def __init__(self, descriptor: int) -> None:
        self.position = 0
        self.digest = hashlib.sha256()
        self._file = open(descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115
        # Nobody else uses the descriptor's own position.
        self._file.seek(0)
        self._buffer = memoryview(bytearray(_PIECE_BYTES))

    def read_to(self, end: int) -> None:
        """Raise OSError where the file ends before."""
        while self.position < end:
            count = self._file.readinto(self._buffer[: end - self.position])
            if not count:
                raise OSError("the file became shorter")
            self.digest.update(self._buffer[:count])
            self.position += count


def sha256_of(descriptor: int, size: int) -> str:
    """Return the SHA-256 (hex) of the first `size` bytes of an open file; raises OSError."""
    reader = _Reader(descriptor)
    reader.read_to(size)
    return reader.digest.hexdigest()
