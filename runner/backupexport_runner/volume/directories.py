"""Directories below the volume's mount, walked without following a symbolic link."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from backupexport_runtime import volume

from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.failures import storage_failure

_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@contextlib.contextmanager
def made_directory(mount: Path, storage_path: str | None) -> Iterator[int]:
    """A descriptor of the directory, which is made where it is missing.

    Only this descriptor is used from then on, so that a link put in the way later leads
    nowhere either.  Failure where the volume refuses, or something else has the name.
    """
    descriptor = -1
    try:
        try:
            descriptor = volume.open_directory(mount, storage_path, make=True)
        except OSError as error:
            raise storage_failure(error) from error
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def existing_directory(
    mount: Path,
    storage_path: str | None,
    verdict: Callable[[OSError], Failure] = storage_failure,
) -> Iterator[int | None]:
    """A descriptor of the directory, or None where there is none.

    A link or a file in the way is none.  Failure by `verdict` where the volume can't tell.
    """
    try:
        descriptor = volume.open_directory(mount, storage_path)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY:
            raise verdict(error) from error
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
