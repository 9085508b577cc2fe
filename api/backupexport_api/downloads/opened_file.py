"""What a download needs of a file, wherever that is stored."""

from typing import Protocol


class StorageUnavailableError(Exception):
    """The storage did not answer in time, or with an error; the text says which."""


class OpenedFile(Protocol):
    """A file to read from; `close` it."""

    async def read(self, start: int, count: int) -> bytes | bytearray:
        """Return up to `count` bytes, none at the file's end; raises StorageUnavailableError."""

    def close(self) -> None:
        """Let it go, after a read that is under way."""
