"""Removes from the volume what is left of an export: the tasks `tidy` and `remove`.

`tidy` leaves either the complete artifact, which it returns, or nothing of the export.  A file
under its final name without a manifest that agrees comes from an attempt that died between the two
renames.  Nothing proves any more that it is complete, so it goes, too, and a retry makes it again.

`tidy` is harmless beside a running attempt.  It removes the hidden files before it judges the
artifact: an attempt that has lost one of them can't publish it, and the artifact of one that has
published both is found complete.  A file that an attempt has put in the place of another stays.

An attempt begins with a `tidy` of its own, so that it leaves nothing of earlier ones either.  One
that was held up on the way leaves everything, for it may be its successor's (see `artifact`).

`remove` removes the manifest first, and the file once that is on the disk: whatever dies on the
way, there is no manifest without its file.  Notes of deliveries are removed after the artifact.

Both tasks can be repeated.  They touch names that hold the job's id, in the one directory of the
request.  A link of such a name is removed and not followed; a directory of such a name stays.
"""

import math
import os
from pathlib import Path

from backupexport_contract.runner_protocol import Artifact
from backupexport_runtime import volume

from backupexport_runner.storage.manifest import manifest_name
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import Request
from backupexport_runner.volume.artifact import remove_file, remove_stale_partials
from backupexport_runner.volume.delivery_notes import remove_delivery_journals
from backupexport_runner.volume.directories import existing_directory
from backupexport_runner.volume.failures import volume_errors
from backupexport_runner.volume.manifest import whole_artifact


def tidy(mount: Path, request: Request, log: Log, until: float = math.inf) -> Artifact | None:
    """Returns the complete artifact; None if there is none, and then nothing of the job is left.

    What is found after `until`, a `seconds_now()`, stays.
    """
    with existing_directory(mount, request.storage_path) as directory, volume_errors():
        if directory is None:
            return None
        finals = (manifest_name(request.file_name), request.file_name)
        before = [_identity(directory, name) for name in finals]
        is_in_time = _remove_partials(directory, request, log, until)
        artifact = whole_artifact(directory, request)
        if artifact is None and is_in_time:
            for name, identity in zip(finals, before, strict=True):
                if identity is not None and identity == _identity(directory, name):
                    _remove_final(directory, name, "unproven_file_removed", log)
            _remove_journals(directory, request, log)
        return artifact


def remove(mount: Path, request: Request, log: Log) -> None:
    """Removes everything of the job, complete or not."""
    with existing_directory(mount, request.storage_path) as directory, volume_errors():
        if directory is None:
            return
        _remove_partials(directory, request, log)
        for name in (manifest_name(request.file_name), request.file_name):
            _remove_final(directory, name, "file_removed", log)
        _remove_journals(directory, request, log)


def _remove_partials(directory: int, request: Request, log: Log, until: float = math.inf) -> bool:
    """Returns False if it was too late to remove any."""
    removed = remove_stale_partials(directory, request.job_id, until)
    if removed is None:
        log.event("found_too_late_to_remove")
        return False
    for name in removed:
        log.event("stale_partial_removed", name=name)
    # Also if nothing was left to remove: the process that removed it may have died before this.
    os.fsync(directory)
    return True


def _remove_final(directory: int, name: str, event: str, log: Log) -> None:
    if remove_file(directory, name):
        log.event(event, name=name)
    os.fsync(directory)


def _remove_journals(directory: int, request: Request, log: Log) -> None:
    removed = remove_delivery_journals(directory, request.file_name)
    for name in removed:
        log.event("delivery_journal_removed", name=name)
    # A process that dies before this is started again, and begins with an fsync.
    if removed:
        os.fsync(directory)


def _identity(directory: int, name: str) -> tuple[int, int, int] | None:
    there = volume.look_up(directory, name)
    if there is None:
        return None
    # An inode's number is given out again at once, the time of its content is not.  (That of its
    # change is another one when the hidden name beside the final one goes.)
    return there.st_dev, there.st_ino, there.st_mtime_ns
