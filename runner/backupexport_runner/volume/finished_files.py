"""How much the project's finished files take, also those that no BackupExport tells of any more.

The directory may be anybody's work: links are not followed, and nobody waits for its end.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from backupexport_contract import names
from backupexport_runtime import volume

_MOST_ENTRIES = 100_000
_LONGEST_SECONDS = 2.0


def finished_bytes(mount: Path) -> tuple[int, bool]:
    """Returns the sum, without what can't be read, and whether everything was looked at."""
    end = time.monotonic() + _LONGEST_SECONDS
    stored = 0
    for number, entry in enumerate(_entries(mount)):
        if number >= _MOST_ENTRIES or time.monotonic() > end:
            return stored, False
        with suppress(OSError):
            if names.is_artifact_file_name(entry.name) and entry.is_file(follow_symlinks=False):
                stored += entry.stat(follow_symlinks=False).st_size
    return stored, True


def _entries(mount: Path) -> Iterator[os.DirEntry[str]]:
    """Yields what is in the directory and in those below it, one after the other."""
    paths = [""]
    while paths:
        path = paths.pop()
        with suppress(OSError):
            directory = volume.open_directory(mount, path)
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        yield entry
                        if entry.is_dir(follow_symlinks=False):
                            paths.append(f"{path}/{entry.name}" if path else entry.name)
            finally:
                os.close(directory)
