"""Files that nobody but their owner may read: written whole, and one writer at a time."""

import contextlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backupexport_cli.errors import CliError, ExitCode

_LARGEST = 4 * 1024 * 1024
_LOCK_SECONDS = 60.0
_LOCK_PAUSE = 0.05
# Windows gives a file its folder's permissions, and a user's own folder is closed to others.
_HAS_MODES = os.name == "posix"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in the file, empty where there is none; refuses what others can read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CliError(
            ExitCode.USAGE,
            f"{path} can't be read: {error.strerror}.",
            "Make it readable for you alone (chmod 600), or remove it and log in again.",
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        _refuse_readable_by_others(path, os.fstat(file.fileno()))
        raw = file.read(_LARGEST + 1)
    try:
        found = json.loads(raw) if len(raw) <= _LARGEST else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CliError(
            ExitCode.USAGE,
            f"{path} is not what this program has written there.",
            "Remove it, and log in again.",
        )
    return found


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Put the object into the file, whole or not at all, readable for the user alone."""
    try:
        _make_private(path.parent)
        # mkstemp's files are 0600 from the start.
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(value, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(draft).unlink()
            raise
    except OSError as error:
        raise CliError(
            ExitCode.FAILED,
            f"{path} can't be written: {error.strerror}.",
            "Make room or give yourself the right to write there, or name another folder"
            " with BACKUPEXPORT_CONFIG_DIR.",
        ) from None


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the file's lock, which ends with its process, too; waits for another holder."""
    try:
        _make_private(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CliError(
            ExitCode.FAILED,
            f"{path} can't be opened: {error.strerror}.",
            "Give yourself the right to write there, or name another folder"
            " with BACKUPEXPORT_CONFIG_DIR.",
        ) from None
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise CliError(
                    ExitCode.FAILED,
                    f"Another backupexport command has held {path} for a minute.",
                    "End that command, and try again.",
                )
            time.sleep(_LOCK_PAUSE)
        yield
    finally:
        # Closing gives the lock back.
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _make_private(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        return
    # One that is there may be another's business: its files are closed, and it stays as it is.
    mode = folder.stat().st_mode
    if _HAS_MODES and mode & 0o022 and not mode & stat.S_ISVTX:
        raise CliError(
            ExitCode.USAGE,
            f"Other users can put files into {folder}, and so change what is kept there.",
            f"Close it with `chmod 700 {folder}`, or name another folder with"
            " BACKUPEXPORT_CONFIG_DIR.",
        )


def _refuse_readable_by_others(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise CliError(
            ExitCode.USAGE, f"{path} is no file.", "Remove what is there, and log in again."
        )
    if not _HAS_MODES:
        return
    # Root reads every file; whose file it is says who can change it.
    if found.st_uid not in (os.geteuid(), 0):
        raise CliError(
            ExitCode.USAGE,
            f"{path} belongs to another user, who could read or change the tokens in it.",
            "Remove it, and log in again.",
        )
    if mode := stat.S_IMODE(found.st_mode) & 0o077:
        raise CliError(
            ExitCode.USAGE,
            f"{path} is open to other users (its mode ends in {mode:02o}).",
            f"Close it with `chmod 600 {path}`; if somebody may have read it, log in again.",
        )
