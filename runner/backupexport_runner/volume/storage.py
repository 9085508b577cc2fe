"""A volume as storage: the mount has the project's own directory."""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact, Outcome
from backupexport_runtime import volume
from backupexport_runtime.volume import NotTheFileError

from backupexport_runner.storage.failures import file_changed, file_missing
from backupexport_runner.storage.interface import delivery_journal_name
from backupexport_runner.storage.manifest import manifest_name
from backupexport_runner.storage.room import Room
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import Request, StoredFile
from backupexport_runner.volume import cleanup, removal
from backupexport_runner.volume.artifact import PartialFile, remove_abandoned_partials
from backupexport_runner.volume.delivery_notes import NotesFile
from backupexport_runner.volume.directories import existing_directory, made_directory
from backupexport_runner.volume.failures import system_words, volume_errors
from backupexport_runner.volume.finished_files import finished_bytes
from backupexport_runner.volume.manifest import whole_artifact
from backupexport_runner.volume.project_directory import require_own_directory
from backupexport_runner.volume.reserve import lack_of_room


@dataclass(frozen=True, slots=True)
class VolumeStorage:
    """The volume at `mount`; `storage.interface.Storage` tells what it does."""

    name: str
    mount: Path
    log: Log
    interruption: Interruption

    def url(self, _path: str) -> str:
        """Returns no URL."""
        return ""

    def tidy(self, request: Request, until: float = math.inf) -> Artifact | None:
        """Returns the complete artifact; None if there is none."""
        return cleanup.tidy(self.mount, request, self.log, until)

    def whole_artifact(self, request: Request) -> Artifact | None:
        """Returns the artifact that is complete."""
        with existing_directory(self.mount, request.storage_path) as directory:
            return None if directory is None else whole_artifact(directory, request)

    def remove(self, request: Request) -> None:
        """Removes everything of the job."""
        cleanup.remove(self.mount, request, self.log)

    def remove_all(self, files: Sequence[StoredFile]) -> Outcome:
        """Removes the files; here the mount has the projects' directories under their ids."""
        return removal.remove_all(self.mount, files, self.log)

    def room(self, environment: Mapping[str, str], _project_id: str) -> Room:
        """Returns what the export may take beside what is there."""
        room = Room.of(environment)
        if lack_of_room(room.reserve, self.mount) is not None:
            self._sweep()
            if (lack := lack_of_room(room.reserve, self.mount)) is not None:
                raise lack
        if room.most_stored is None:
            return room
        stored, is_whole = finished_bytes(self.mount)
        if not is_whole:
            self.log.event("finished_files_not_all_counted", counted_bytes=stored)
        return room.beside(stored)

    @contextlib.contextmanager
    def new_file(
        self, request: Request, attempt: str, _estimated_bytes: int
    ) -> "Iterator[_NewFile]":
        """Yields the file, which is hidden until it is published."""
        self._sweep()
        with made_directory(self.mount, request.storage_path) as directory:
            file, manifest = (
                PartialFile(directory, name, attempt, self.interruption)
                for name in (request.file_name, manifest_name(request.file_name))
            )
            with file:
                require_own_directory(self.mount, request.project_id, directory, file.name)
                yield _NewFile(file, manifest, self.interruption)

    @contextlib.contextmanager
    def finished(self, request: Request) -> "Iterator[_FinishedFile]":
        """Yields the file in its directory."""
        with existing_directory(self.mount, request.storage_path, file_unreadable) as directory:
            if directory is None:
                raise file_missing()
            yield _FinishedFile(directory, request.file_name)

    def check(self) -> str:
        """Writes a file, reads it, removes it."""
        name, content = f".check-{os.getpid()}-{time.time_ns()}", b"check"
        with volume_errors(), made_directory(self.mount, None) as directory:
            file = volume.create_file(directory, name)
            try:
                with os.fdopen(file, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(file)
                found = volume.read_file(directory, name, len(content) + 1)
            finally:
                os.unlink(name, dir_fd=directory)
        if found != content:
            raise Failure(
                ExitCode.STORAGE_UNWRITABLE,
                "The export volume gives back other bytes than were written: check its storage.",
            )
        return "The volume takes files, and gives them back."

    def close(self) -> None:
        """Ends nothing."""

    def _sweep(self) -> None:
        for path in remove_abandoned_partials(self.mount, time.time()):
            self.log.event("abandoned_partial_removed", path=path)


@dataclass(frozen=True, slots=True)
class _NewFile:
    file: PartialFile
    manifest: PartialFile
    interruption: Interruption

    def write(self, data: bytes | memoryview, /) -> None:
        self.file.write(data)

    def finish(self) -> None:
        self.file.sync()

    def publish(self, manifest: str, _sha256: str) -> None:
        with self.manifest:
            self.manifest.write(manifest.encode())
            self.manifest.sync()
            with self.interruption.changing:
                self.interruption.check()
                self.file.publish()
                self.manifest.publish()
                self.interruption.keep()


@dataclass(frozen=True, slots=True)
class _FinishedFile:
    directory: int
    file_name: str

    def notes(self, kind: str) -> NotesFile:
        return NotesFile(self.directory, delivery_journal_name(self.file_name, kind))

    @contextlib.contextmanager
    def opened(self, size: int) -> "Iterator[DescriptorReader]":
        try:
            file = volume.open_file_in(self.directory, self.file_name, size)
        except NotTheFileError:
            raise file_changed() from None
        except FileNotFoundError:
            raise file_missing() from None
        except OSError as error:
            raise (file_changed() if volume.is_missing(error) else file_unreadable(error)) from None
        try:
            yield DescriptorReader(file)
        finally:
            os.close(file)


@dataclass(frozen=True, slots=True)
class DescriptorReader:
    """Reads what is open under a descriptor."""

    file: int

    def read_at(self, offset: int, size: int) -> bytes:
        """Returns at most `size` bytes from `offset` on."""
        with volume_errors(file_unreadable):
            return os.pread(self.file, size, offset)


def file_unreadable(error: OSError) -> Failure:
    """Returns the failure for a volume that fails: the export may be as good as it was."""
    return Failure(
        ExitCode.DELIVERY_DEFERRED,
        f"The export's file can't be read: check the export volume's storage "
        f"({system_words(error)}).",
    )
