"""What an attempt at a delivery notes for the next one: a small JSON file beside the artifact.

It is replaced as a whole, so a process that dies at any step leaves the old notes or the new ones.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from typing import Any

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import json_object
from backupexport_runtime import volume

from backupexport_runner.storage.interface import delivery_journal_name
from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.artifact import remove_files, write_all
from backupexport_runner.volume.failures import system_words, volume_errors

_LARGEST_BYTES = 1024 * 1024


def remove_delivery_journals(directory: int, file_name: str) -> list[str]:
    """Removes the notes of every kind of delivery about the artifact; returns their names."""
    prefix = delivery_journal_name(file_name, "")
    return remove_files(directory, lambda name: name.startswith(prefix))


def _notes_failure(error: OSError) -> Failure:
    return Failure(
        ExitCode.DELIVERY_DEFERRED,
        "The delivery's notes on the export volume can't be read or written, and without them "
        "things might be sent twice: check the volume, make it writable or free space "
        f"({system_words(error)}).",
    )


@dataclass(frozen=True, slots=True)
class NotesFile:
    """One delivery's notes about one artifact; `directory` is a descriptor that must stay open.

    Every method raises Failure(DELIVERY_DEFERRED) if the volume fails.
    """

    directory: int
    name: str

    def read(self) -> dict[str, Any] | None:
        """Returns the notes; None if there are none, or the file is not as `write` makes it."""
        # A volume that fails is not taken for one without notes: good ones would be overwritten.
        with volume_errors(_notes_failure):
            content = volume.read_file(self.directory, self.name, _LARGEST_BYTES)
        return json_object(content or b"")

    def begin(self, notes: dict[str, Any]) -> None:
        """Writes the first notes, twice: each later `write` needs the room of another copy."""
        self.write(notes)
        self.write(notes)

    @volume_errors(_notes_failure)
    def write(self, notes: dict[str, Any]) -> None:
        """Replaces the notes; they are on the disk when this returns."""
        new = f"{self.name}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=self.directory)
        file = volume.create_file(self.directory, new)
        try:
            write_all(file, json.dumps(notes).encode())
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(new, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        os.fsync(self.directory)

    @volume_errors(_notes_failure)
    def remove(self) -> None:
        """Removes the notes, so that the next attempt begins from the start."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.directory)
        os.fsync(self.directory)
