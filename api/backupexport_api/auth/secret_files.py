"""Secrets of our own from files: read again when they change, without a restart.

The kubelet puts a changed Secret in the files' place, by a link that it moves
(https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically).
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from backupexport_api.auth.keys import KeySet, SigningKey

_log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 2.0

Value = TypeVar("Value")
_Stamp = tuple[int, int, int] | None


class SecretFiles(Generic[Value]):
    """What `read` makes of some files; what it can't use it never gets in place of what it has.

    `read` raises ValueError or OSError; here it does so too, at first.  A file that is missing is
    for it to judge.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], Value],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths, self._read, self._clock = paths, read, clock
        # Looked at before they are read: what changes between the two is seen the next time.
        self._stamps = self._look()
        self._value = read()
        self._look_at = clock() + LOOK_AGAIN_SECONDS

    def current(self) -> Value:
        """Return what the files had a few seconds ago, or else when they were good last."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_SECONDS
            self._reread()
        return self._value

    def _reread(self) -> None:
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._value = self._read()
        except (OSError, ValueError) as error:
            # The text of a UnicodeDecodeError holds what was read.
            why = type(error).__name__ if isinstance(error, OSError | UnicodeError) else str(error)
            _log.warning("%s has changed and can't be used, what it was holds: %s", self, why)
        else:
            _log.info("%s has changed: what it is now holds", self)

    def _look(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._paths]

    def __str__(self) -> str:
        return " or ".join(map(str, self._paths))


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_secret(path: Path) -> str:
    """Return the file's text without newlines at its end.  Raises OSError, UnicodeDecodeError."""
    return path.read_text(encoding="utf-8").rstrip("\r\n")


def read_previous(path: Path | None) -> str:
    """Return the same; empty where there is no such file, as while nothing is rotated."""
    try:
        return "" if path is None else read_secret(path)
    except FileNotFoundError:
        return ""


class FileKeys:
    """The source of keys in files; it has another KeySet whenever these have changed."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], list[SigningKey]]) -> None:
        self._files = SecretFiles(paths, lambda: KeySet(read()))

    def current(self) -> KeySet:
        """Return the keys as they are now."""
        return self._files.current()

    async def refreshed(self) -> bool:
        """Return False: nobody needs to ask for a key that is in the files."""
        return False
