"""Directories below the volume's mount, walked without following a symbolic link."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from backupexport_runner.storage_errors import storage_failure

_DIRECTORY_MODE = 0o750
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@contextlib.contextmanager
def made_directory(mount: Path, storage_path: str | None) -> Iterator[int]:
    """A descriptor of the directory, which is made where it is missing.

    Only this descriptor is used from then on, so that a link put in the way later leads
    nowhere either.  RunnerFailure where the volume refuses, or something else has the name.
    """
    descriptor = -1
    try:
        try:
            descriptor = _walk(mount, storage_path, make=True)
        except OSError as error:
            raise storage_failure(error) from error
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def existing_directory(mount: Path, storage_path: str | None) -> Iterator[int | None]:
    """A descriptor of the directory, or None where there is none.

    A link or a file in the way is none.  RunnerFailure where the volume can't tell.
    """
    try:
        descriptor = _walk(mount, storage_path, make=False)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY:
            raise storage_failure(error) from error
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(mount: Path, storage_path: str | None, *, make: bool) -> int:
    current = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for segment in storage_path.split("/") if storage_path else ():
            if make:
                _make(segment, current)
            below = os.open(segment, _FLAGS, dir_fd=current)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def _make(name: str, parent: int) -> None:
    try:
        os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
