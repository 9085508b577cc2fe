"""The project's own directory, on volumes too that take `Shop` and `shop` for one name.

A runner sees the directory's content, not its name.  So where upper and lower case are one, the
first project that exports there leaves its id in a file.
"""

import os
from pathlib import Path

from backupexport_contract.reasons import ExitCode
from backupexport_runtime import volume

from backupexport_runner.task.failure import Failure, one_line
from backupexport_runner.volume.artifact import write_all
from backupexport_runner.volume.failures import volume_errors

OWNER_NAME = ".project"
_LONGEST_ID = 200


@volume_errors()
def require_own_directory(mount: Path, project_id: str, directory: int, name: str) -> None:
    """Raise Failure(STORAGE_UNWRITABLE) if another project, whose id differs by case, was first.

    `name` is that of a file in `directory`, by which it is seen whether the volume folds case.
    """
    if not _folds_case(directory, name):
        return
    root = volume.open_directory(mount, None)
    try:
        owner = _owner(root, project_id)
    finally:
        os.close(root)
    if owner != project_id:
        raise Failure(
            ExitCode.STORAGE_UNWRITABLE,
            "The export volume takes upper and lower case for one, and the directory of this "
            f"project is that of project {one_line(owner, _LONGEST_ID)}: give one of the two an id "
            "that differs by more, or use another volume, then start the export again.",
        )


def _folds_case(directory: int, name: str) -> bool:
    there, other = (volume.look_up(directory, spelt) for spelt in (name, name.swapcase()))
    return there is not None and other is not None and os.path.samestat(there, other)


def _owner(root: int, project_id: str) -> str:
    try:
        file = volume.create_file(root, OWNER_NAME)
    except FileExistsError:
        owner = volume.read_file(root, OWNER_NAME, _LONGEST_ID)
        return "of another name" if owner is None else owner.decode(errors="replace")
    try:
        write_all(file, project_id.encode())
        os.fsync(file)
    except BaseException:
        # Nobody's for ever, if it stayed empty.
        os.unlink(OWNER_NAME, dir_fd=root)
        raise
    finally:
        os.close(file)
    return project_id
