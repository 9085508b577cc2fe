"""An export's object while it is written, and its manifest.

The object appears whole, by the last request of an upload or by the only one of a small file.  Its
manifest comes after it: an object without one that agrees, with the request and with the attempt in
the object's metadata, is of an attempt that died between the two.  The next `tidy` removes it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backupexport_contract import names
from backupexport_contract.runner_protocol import json_object

from backupexport_runner.bucket.objects import Objects
from backupexport_runner.bucket.part_sizes import SMALLEST_PART_BYTES
from backupexport_runner.bucket.s3_client import NoSuchUploadError, S3Client
from backupexport_runner.bucket.s3_client import PreconditionError as NotThereError
from backupexport_runner.bucket.upload import Upload
from backupexport_runner.storage.failures import TakenOverFailure
from backupexport_runner.storage.manifest import LARGEST_BYTES, manifest_name
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import Request

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
_MOST_COPIED_BYTES = 5 * 1024**3
ATTEMPT = "attempt"


def object_attributes(
    file_name: str, job_id: str, project_id: str, attempt: str, *, is_azure: bool
) -> dict[str, str]:
    """Returns the object's headers and metadata, as obstore has them.

    Azure's names are identifiers:
    https://learn.microsoft.com/en-us/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata#metadata-names
    """
    joint = "_" if is_azure else "-"
    return {
        "Content-Type": names.media_type(file_name),
        "Content-Disposition": f'attachment; filename="{file_name}"',
        f"job{joint}id": job_id,
        f"project{joint}id": project_id,
        ATTEMPT: attempt,
    }


def s3_headers(attributes: Mapping[str, str]) -> dict[str, str]:
    """Returns these attributes as headers of S3."""
    return {
        name if name.startswith("Content-") else f"x-amz-meta-{name}": value
        for name, value in attributes.items()
    }


@dataclass
class NewObject:
    """The object of one attempt; `begin` begins an upload of what is too large for one request.

    Methods raise Failure, except `discard`: `is_gone` tells whether nothing of it is left.
    """

    objects: Objects
    client: S3Client | None
    request: Request
    attempt: str
    attributes: Mapping[str, str]
    begin: Callable[[Mapping[str, str]], Upload]
    interruption: Interruption
    log: Log
    is_gone: bool = field(default=True, init=False)
    _head: bytearray = field(default_factory=bytearray, init=False)
    _upload: Upload | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)
    _is_published: bool = field(default=False, init=False)
    _may_be_there: bool = field(default=False, init=False)
    _is_discarded: bool = field(default=False, init=False)

    @property
    def key(self) -> str:
        """The object's key below the prefix."""
        return self.request.artifact_path

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends all of `data`."""
        self._size += len(data)
        if self._upload is None:
            if self._size <= SMALLEST_PART_BYTES:
                self._head += data
                return
            with self.interruption.changing:
                self._require_ours()
                self.is_gone = False
                self._upload = self.begin(self.attributes)
            head, self._head = self._head, bytearray()
            self._upload.write(memoryview(head))
        self._upload.write(data)

    def finish(self) -> None:
        """Waits until the server has all of a large file."""
        if self._upload is not None:
            self._upload.finish()

    def publish(self, manifest: str, sha256: str) -> None:
        """Makes the object, and then its manifest."""
        with self.interruption.changing:
            self.interruption.check()
            self._require_ours()
            self.is_gone, self._may_be_there = False, True
            attributes = {**self.attributes, "sha256": sha256}
            if self._upload is None:
                is_new = self.objects.create(self.key, bytes(self._head), attributes)
                if not (is_new or self.is_ours()):
                    self._may_be_there, self.is_gone = False, True
                    raise TakenOverFailure
            else:
                self._complete(self._upload, sha256)
            self.objects.put_json(
                manifest_name(self.key), {**json.loads(manifest), ATTEMPT: self.attempt}
            )
            self._require_both()
            self._is_published = True
            self.interruption.keep()
        if self.client is not None and self._upload is not None:
            self._note_checksum(self.client, attributes)

    def is_ours(self) -> bool:
        """Whether the object that is there is of this attempt, and whole."""
        found = self.objects.look_up(self.key)
        return found is not None and (found.attempt, found.size) == (self.attempt, self._size)

    def discard(self) -> None:
        """Aborts the upload.  An object stays: nothing tells whose it is when it is removed."""
        with self.interruption.changing:
            if self._is_published or self._is_discarded:
                return
            self._is_discarded = True
            is_aborted = self._upload is None or self._upload.abort()
            self.is_gone = is_aborted
            if self._may_be_there:
                try:
                    self.is_gone &= not self.interruption.requested and not self.is_ours()
                except Failure:
                    self.is_gone = False

    def _require_ours(self) -> None:
        # The main thread has given the file up, and a failure for it has been reported.
        if self._is_discarded:
            raise TakenOverFailure

    def _require_both(self) -> None:
        """Raises TakenOverFailure where a cleanup took the object for one without a manifest."""
        name = manifest_name(self.key)
        manifest = json_object(self.objects.read(name, LARGEST_BYTES) or b"") or {}
        is_manifest_ours = manifest.get(ATTEMPT) == self.attempt
        if is_manifest_ours and self.is_ours():
            return
        if is_manifest_ours:
            self.objects.remove(name)
        raise TakenOverFailure

    def _complete(self, upload: Upload, sha256: str) -> None:
        try:
            upload.complete()
        except TakenOverFailure:
            self._may_be_there = False
            raise
        self.log.event("upload_completed", size_bytes=self._size, sha256=sha256)

    def _note_checksum(self, client: S3Client, attributes: Mapping[str, str]) -> None:
        """Copies the object to itself with its checksum, which was not known at the beginning.

        Not where every version stays.  It is whole without, and its manifest has the checksum.
        """
        if self._size > _MOST_COPIED_BYTES:
            return
        try:
            found = self.objects.look_up(self.key)
            if found is None or found.is_versioned:
                return
            client.copy_in_place(self.key, s3_headers(attributes), found.etag)
        except (Failure, NoSuchUploadError, NotThereError) as error:
            self.log.event("checksum_not_in_metadata", error=str(error))
