"""Removes the files of many exports that have ended: the task `remove` with a list of files.

What is not found is told apart from what an earlier run has removed.  Before a file goes, its
manifest becomes its tombstone, `.<file name>.removed`, and that is on the disk: whatever dies on
the way, there is no manifest without its file, and the next run knows what it doesn't find.  A
tombstone goes with a later removal in its directory, when nobody can ask for its file any more.

Only names that begin with the file's own are touched, in the one directory of each file.  A link of
such a name is removed and not followed; a directory of such a name stays.
"""

import itertools
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from backupexport_contract import names
from backupexport_contract.runner_protocol import Outcome
from backupexport_runtime import volume

from backupexport_runner.storage.failures import NotAllRemovedError
from backupexport_runner.storage.interface import delivery_journal_name
from backupexport_runner.storage.manifest import manifest_name
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import StoredFile
from backupexport_runner.volume.artifact import remove_file
from backupexport_runner.volume.directories import existing_directory
from backupexport_runner.volume.failures import volume_errors

_TOMBSTONE = ".removed"
# A removal is made anew within minutes, or once an outage of the operator is over.
_TOMBSTONE_SECONDS = 8 * 24 * 3600
_STEM_LENGTH = len("20260129T153000Z-0b7c1111-2222-4333-8444-555566667777")


def remove_all(mount: Path, files: Sequence[StoredFile], log: Log) -> Outcome:
    """Removes all of the files with what lies beside them, as far as the volume allows.

    `mount` has the projects' directories under their ids.  The outcome has the places in `files`
    of those that are not there and were not removed by an earlier run.  Raises NotAllRemovedError.
    """
    groups: dict[tuple[str, str | None], dict[int, str]] = {}
    for number, file in enumerate(files):
        group = groups.setdefault((file.project_id, file.storage_path), {})
        group[number] = file.file_name
    missing: set[int] = set()
    failures: dict[int, Failure] = {}
    for (project_id, storage_path), group in groups.items():
        try:
            with (
                existing_directory(mount / project_id, storage_path) as directory,
                volume_errors(),
            ):
                if directory is None:
                    missing |= group.keys()
                    continue
                _Directory(directory, group, log, missing, failures).remove()
        except Failure as failure:
            failures |= dict.fromkeys(group, failure)
    outcome = Outcome(
        missing=tuple(sorted(missing - failures.keys())), failed=tuple(sorted(failures))
    )
    if failures:
        raise NotAllRemovedError(failures[outcome.failed[0]], outcome)
    return outcome


@dataclass
class _Directory:
    """The files of one directory, by their places; one that fails is left out of later steps."""

    descriptor: int
    group: Mapping[int, str]
    log: Log
    missing: set[int]
    failures: dict[int, Failure]
    _hidden: dict[str, list[str]] = field(default_factory=dict, init=False)

    def remove(self) -> None:
        """Raises Failure or OSError if none of it can be gone on with."""
        self._hidden = _hidden_names(self.descriptor)
        # An attempt that has lost its partial file can't publish it any more.
        self._for_each(self._stop)
        self._for_each(self._bury)
        self._for_each(self._remove)
        _remove_old_tombstones(self.descriptor, self._hidden)

    def _for_each(self, step: Callable[[int, str], None]) -> None:
        for number, file_name in self.group.items():
            if number in self.failures:
                continue
            try:
                with volume_errors():
                    step(number, file_name)
            except Failure as failure:
                self.failures[number] = failure
        # Also if nothing was left to do: the process that did it may have died before this.
        os.fsync(self.descriptor)

    def _stop(self, _: int, file_name: str) -> None:
        self._remove_beside(file_name, f".{file_name}", ".partial")

    def _bury(self, number: int, file_name: str) -> None:
        """Turns the manifest into the tombstone, if the file is there."""
        tombstone, here = f".{file_name}{_TOMBSTONE}", self.descriptor
        if not _is_file(here, file_name):
            if volume.look_up(here, tombstone) is None:
                self.missing.add(number)
        elif _is_file(here, manifest := manifest_name(file_name)):
            os.rename(manifest, tombstone, src_dir_fd=here, dst_dir_fd=here)
        else:
            # Without room for it the file goes all the same: a full volume needs that.
            with suppress(OSError):
                os.close(volume.create_file(here, tombstone))

    def _remove(self, _: int, file_name: str) -> None:
        for name in (manifest_name(file_name), file_name):
            self._remove_file(name)
        self._remove_beside(file_name, delivery_journal_name(file_name, ""))
        # What the manifest told of the export goes with that.
        _empty(self.descriptor, f".{file_name}{_TOMBSTONE}")

    def _remove_beside(self, file_name: str, prefix: str, suffix: str = "") -> None:
        for name in self._hidden.get(_stem(file_name), ()):
            if name.startswith(prefix) and name.endswith(suffix):
                self._remove_file(name)

    def _remove_file(self, name: str) -> None:
        if remove_file(self.descriptor, name):
            self.log.event("file_removed", name=name)


def _stem(file_name: str) -> str:
    """Returns what all names of one export's files begin with: its time and its job id."""
    return file_name[:_STEM_LENGTH]


def _hidden_names(directory: int) -> dict[str, list[str]]:
    """Returns the hidden names of the directory by the stems of their files."""
    hidden: dict[str, list[str]] = {}
    for name in os.listdir(directory):
        if name.startswith("."):
            hidden.setdefault(_stem(name[1:]), []).append(name)
    return hidden


def _is_file(directory: int, name: str) -> bool:
    there = volume.look_up(directory, name)
    return there is not None and not stat.S_ISDIR(there.st_mode)


def _empty(directory: int, name: str) -> None:
    """Empties a regular file that has this one name; else it stays as it is."""
    with suppress(OSError):
        file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        with os.fdopen(file, "wb") as stream:
            there = os.fstat(file)
            if stat.S_ISREG(there.st_mode) and there.st_nlink == 1:
                stream.truncate(0)


def _remove_old_tombstones(directory: int, hidden: Mapping[str, Iterable[str]]) -> None:
    for name in itertools.chain.from_iterable(hidden.values()):
        if name.endswith(_TOMBSTONE) and names.is_artifact_file_name(name[1 : -len(_TOMBSTONE)]):
            there = volume.look_up(directory, name)
            # A rename changes this time alone.
            if there is not None and time.time() - there.st_ctime > _TOMBSTONE_SECONDS:
                remove_file(directory, name)
