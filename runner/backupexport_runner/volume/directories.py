"""The directory of an export on the volume, opened without following a symbolic link."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from backupexport_runtime import volume

from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.failures import storage_failure, volume_errors


@contextlib.contextmanager
def made_directory(mount: Path, storage_path: str | None) -> Iterator[int]:
    """Yields a descriptor of the directory, made if it is missing.  Raises Failure."""
    with volume_errors():
        directory = volume.open_directory(mount, storage_path, make=True)
    try:
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def existing_directory(
    mount: Path, storage_path: str | None, failure: Callable[[OSError], Failure] = storage_failure
) -> Iterator[int | None]:
    """Yields a descriptor of the directory; None if there is none, but nothing, a link or a file.

    Raises `failure` of the error if the volume can't tell.
    """
    try:
        directory = volume.open_directory(mount, storage_path)
    except OSError as error:
        if not volume.is_directory_missing(error):
            raise failure(error) from error
        yield None
        return
    try:
        yield directory
    finally:
        os.close(directory)
