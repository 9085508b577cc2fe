"""The artifact on the volume, read back from its manifest."""

import stat

from backupexport_contract.runner_protocol import Artifact, json_object
from backupexport_runtime import volume

from backupexport_runner.storage.manifest import LARGEST_BYTES, artifact_of, manifest_name
from backupexport_runner.task.request import Request
from backupexport_runner.volume.failures import volume_errors


def whole_artifact(directory: int, request: Request) -> Artifact | None:
    """Returns the artifact that is complete in the directory; None if there is none of the request.

    Raises Failure if the volume can't tell.
    """
    manifest = read_manifest(directory, request.file_name)
    return artifact_of(manifest, request) if manifest else None


@volume_errors()
def read_manifest(directory: int, file_name: str) -> dict[str, object] | None:
    """Returns the manifest of a whole artifact: a regular file of the size that it says; else None.

    The checksum is not read again: the manifest gets its name only after the artifact has its own,
    and both only after they are on the disk.  Raises Failure if the volume can't tell: None would
    have a good artifact removed.
    """
    there = volume.look_up(directory, file_name)
    content = volume.read_file(directory, manifest_name(file_name), LARGEST_BYTES)
    manifest = json_object(content or b"")
    is_whole = (
        manifest is not None
        and there is not None
        and stat.S_ISREG(there.st_mode)
        and manifest.get("size_bytes") == there.st_size
    )
    return manifest if is_whole else None
