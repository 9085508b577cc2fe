"""A bucket as storage; the object's key is the artifact's path, below the storage's prefix.

`tidy` and `remove` abort the uploads to the key before they judge or remove the object: an attempt
that has lost its upload can't complete it.  An attempt begins with a `tidy` of its own.  One that
was held up on the way leaves what is younger than itself, for that may be its successor's.
"""

import contextlib
import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import obstore
from backupexport_contract import names
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact, Outcome, json_object
from backupexport_contract.storages import NamedStorage
from backupexport_contract.storages import Storage as StorageSettings
from backupexport_runtime.buckets import Bucket, CredentialsError, Patience
from pydantic import ValidationError

from backupexport_runner.bucket.failures import THEN, BucketErrors
from backupexport_runner.bucket.new_object import (
    ATTEMPT,
    NewObject,
    object_attributes,
    s3_headers,
)
from backupexport_runner.bucket.objects import Found, Objects
from backupexport_runner.bucket.s3_client import NoSuchUploadError, S3Client
from backupexport_runner.bucket.upload import ObstoreUpload, S3Upload, Upload
from backupexport_runner.storage.failures import (
    IN_BUCKET,
    NotAllRemovedError,
    file_changed,
    file_missing,
)
from backupexport_runner.storage.interface import delivery_journal_name
from backupexport_runner.storage.manifest import LARGEST_BYTES, artifact_of, manifest_name
from backupexport_runner.storage.room import Room
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import Request, StoredFile, bad_value

_TOMBSTONE = ".removed"
# A file's name begins with its year; a dot alone is no name that can be asked for.
_TOMBSTONES = ".2"
# A removal is made anew within minutes, or once an outage of the operator is over.
_TOMBSTONE_AGE = timedelta(days=8)
_LONGEST_COUNT_SECONDS = 10.0
# Nothing has come for so long: nobody writes them any more, as on a volume.
_ABANDONED_SECONDS = 24 * 3600.0
_LONGEST_SWEEP_SECONDS = 10.0
_LARGEST_NOTES_BYTES = 1024 * 1024
# A name of a server's clock is whole seconds.
_CLOCK_SECONDS = 1.0


def open_bucket(text: str, secret: Path, log: Log, interruption: Interruption) -> "BucketStorage":
    """Returns the storage that the text describes.  Raises Failure; the log hides its Secret."""
    try:
        named = NamedStorage.model_validate_json(text)
    except ValidationError:
        raise bad_value(protocol.ENV_STORAGE, "can't be read") from None
    bucket = Bucket(named.storage, secret, Patience(), has_secret=bool(named.has_secret))
    with contextlib.suppress(CredentialsError):
        log.scrubber.learn(bucket.credentials.values())
    return BucketStorage(named.name, bucket, log, interruption)


class BucketStorage:
    """The bucket; `storage.interface.Storage` tells what it does."""

    def __init__(
        self,
        name: str,
        bucket: Bucket,
        log: Log,
        interruption: Interruption,
    ) -> None:
        self.name = name
        self._bucket = bucket
        self._settings: StorageSettings = bucket.storage
        self._log = log
        self._interruption = interruption

        def is_hasty() -> bool:
            return interruption.requested

        self._errors = BucketErrors(self._settings.root, is_hasty)
        self._objects = Objects(bucket, self._errors)
        self._client: S3Client | None = None
        if self._settings.s3 is not None:
            self._client = S3Client(bucket, self._settings.s3, self._errors, is_hasty)

    def url(self, path: str) -> str:
        """Returns the object's URL."""
        return self._settings.url(path) or ""

    def tidy(self, request: Request, until: float = math.inf) -> Artifact | None:
        """Returns the complete artifact; None if there is none."""
        key = request.artifact_path
        is_final = until == math.inf
        before = self._objects.look_up(key)
        self._abort_uploads(key, until)
        if is_final:
            # What was completed before its upload could be aborted has to go, too.
            before = self._objects.look_up(key)
        artifact = self.whole_artifact(request)
        if artifact is not None:
            return artifact
        if before is not None and self._is_in_time(before.modified_at, until):
            # One that an attempt has put in its place meanwhile stays.
            if self._objects.look_up(key) == before and self.whole_artifact(request) is None:
                self._objects.remove(manifest_name(key))
                self._objects.remove(key)
                self._log.event("unproven_file_removed", name=request.file_name)
        elif before is None and is_final:
            self._objects.remove(manifest_name(key))
        if is_final or before is not None:
            self._remove_journals(key)
        return None

    def whole_artifact(self, request: Request) -> Artifact | None:
        """Returns the artifact that is complete: object and manifest are of one attempt."""
        key = request.artifact_path
        manifest = json_object(self._objects.read(manifest_name(key), LARGEST_BYTES) or b"")
        if manifest is None:
            return None
        artifact = artifact_of(manifest, request)
        found = self._objects.look_up(key)
        if artifact is None or found is None:
            return None
        if (artifact.size_bytes, manifest.get(ATTEMPT)) != (found.size, found.attempt):
            return None
        # Others may write to the bucket; where it is we know.
        return replace(artifact, storage=self.name, url=self.url(artifact.path))

    def remove(self, request: Request) -> None:
        """Removes everything of the job."""
        self._abort_uploads(request.artifact_path)
        self._remove_object(request.artifact_path)

    def remove_all(self, files: Sequence[StoredFile]) -> Outcome:
        """Removes the files; a tombstone tells the next run what this one has removed."""
        missing: list[int] = []
        failures: dict[int, Failure] = {}
        directories = set()
        away: Failure | None = None
        for number, file in enumerate(files):
            key = names.artifact_path(file.project_id, file.storage_path, file.file_name)
            directories.add(key.rpartition("/")[0])
            try:
                if away is not None:
                    raise away
                if not self._remove_one(key):
                    missing.append(number)
            except Failure as failure:
                failures[number] = failure
                if failure.exit_code == ExitCode.STORAGE_FALTERING:
                    away = failure
        if away is None:
            for directory in sorted(directories):
                with contextlib.suppress(Failure):
                    self._remove_old_tombstones(directory)
        outcome = Outcome(missing=tuple(missing), failed=tuple(sorted(failures)))
        if failures:
            raise NotAllRemovedError(failures[outcome.failed[0]], outcome)
        return outcome

    def room(self, environment: Mapping[str, str], project_id: str) -> Room:
        """Returns what the export may take beside what the project has there."""
        self._sweep(project_id)
        room = Room.of(environment)
        if room.most_stored is None:
            return room
        stored, end = 0, time.monotonic() + _LONGEST_COUNT_SECONDS
        for name, size in self._objects.sizes(project_id):
            if names.is_artifact_file_name(name):
                stored += size
            if time.monotonic() > end:
                self._log.event("finished_files_not_all_counted", counted_bytes=stored)
                break
        return room.beside(stored, IN_BUCKET)

    @contextlib.contextmanager
    def new_file(self, request: Request, attempt: str, estimated_bytes: int) -> Iterator[NewObject]:
        """Yields the object."""
        file = NewObject(
            self._objects,
            self._client,
            request,
            attempt,
            object_attributes(
                request.file_name,
                request.job_id,
                request.project_id,
                attempt,
                is_azure=self._settings.azure is not None,
            ),
            lambda attributes: self._upload(file, attributes, estimated_bytes),
            self._interruption,
            self._log,
        )
        self._interruption.watch(file.discard, lambda: file.is_gone)
        try:
            yield file
        finally:
            file.discard()

    @contextlib.contextmanager
    def finished(self, request: Request) -> "Iterator[_FinishedObject]":
        """Yields the object."""
        yield _FinishedObject(self._objects, request)

    def check(self) -> str:
        """Does with a small object all that the tasks do with large ones."""
        try:
            self._check()
        except Failure as failure:
            # Nobody's export has failed.
            raise Failure(failure.exit_code, failure.message.replace(THEN, "")) from None
        return (
            f"The bucket {self._settings.root} takes objects, gives them back, lists, signs and "
            "removes them."
        )

    def _check(self) -> None:
        key, content = f".check-{secrets.token_hex(8)}", secrets.token_bytes(1000)
        self._check_uploads(f"{key}/upload")
        key = f"{key}/object"
        attributes = object_attributes(
            "object", "check", "check", "check", is_azure=self._settings.azure is not None
        )
        self._objects.put(key, content, attributes)
        try:
            if self._objects.read(key, len(content) + 1) != content:
                raise self._strange("gives back other bytes than were written")
            if not list(self._objects.sizes(key.partition("/")[0])):
                raise self._strange("doesn't list what was written")
            self._check_signed(key, content)
        finally:
            self._objects.remove(key)
        if self._objects.look_up(key) is not None:
            raise self._strange("still has what was removed")

    def close(self) -> None:
        """Ends the connections for uploads; obstore's end by themselves."""
        if self._client is not None:
            self._client.close()

    def _check_uploads(self, key: str) -> None:
        if self._client is None:
            return
        upload_id, _ = self._client.create_upload(key, {})
        try:
            found = [each.upload_id for each in self._client.uploads(key)]
        finally:
            is_gone = self._client.abort_upload(key, upload_id)
        if upload_id not in found:
            raise self._strange("doesn't list uploads that are under way")
        if not is_gone:
            raise self._strange("still has an upload that was aborted")

    def _check_signed(self, key: str, content: bytes) -> None:
        if self._settings.downloads != "redirect":
            return
        with self._errors.told("sign a URL"):
            url = obstore.sign(self._bucket.store, "GET", key, timedelta(seconds=60))
            verify: Any = True if self._client is None else self._client.tls
            answer = httpx.get(url, verify=verify, timeout=30.0, trust_env=False)
        if answer.status_code != 200 or answer.content != content:
            raise self._strange(f"answers {answer.status_code} to a URL that was signed for it")

    def _strange(self, what: str) -> Failure:
        return Failure(
            ExitCode.STORAGE_UNWRITABLE,
            f"The bucket {self._settings.root} {what}: check its server and its settings.",
        )

    def _upload(
        self, file: NewObject, attributes: Mapping[str, str], estimated_bytes: int
    ) -> Upload:
        check = self._interruption.check
        if self._client is None:
            return ObstoreUpload(
                self._bucket, self._errors, file.key, attributes, estimated_bytes, check
            )
        return S3Upload(
            self._client, file.key, s3_headers(attributes), estimated_bytes, check, file.is_ours
        )

    def _abort_uploads(self, key: str, until: float = math.inf) -> None:
        if self._client is None:
            return
        for upload in self._client.uploads(key):
            if upload.initiated_at - _CLOCK_SECONDS > until:
                self._log.event("found_too_late_to_remove")
            elif self._client.abort_upload(key, upload.upload_id):
                self._log.event("stale_upload_aborted", name=key.rpartition("/")[2])

    def _sweep(self, project_id: str) -> None:
        """Aborts the project's uploads that nobody goes on with, such as of a cleanup that failed.

        Failures are logged: the export does without.
        """
        if self._client is None:
            return
        end = time.monotonic() + _LONGEST_SWEEP_SECONDS
        try:
            for upload in self._client.uploads_below(f"{project_id}/"):
                self._interruption.check()
                if time.monotonic() > end:
                    self._log.event("abandoned_uploads_not_all_seen")
                    return
                name = upload.key.rpartition("/")[2]
                long_ago = seconds_now() - _ABANDONED_SECONDS
                if not names.is_artifact_file_name(name) or upload.initiated_at > long_ago:
                    continue
                with contextlib.suppress(NoSuchUploadError):
                    if self._client.last_part_at(upload) > long_ago:
                        continue
                    if self._client.abort_upload(upload.key, upload.upload_id):
                        self._log.event("abandoned_upload_aborted", path=upload.key)
        except Failure as failure:
            self._interruption.check()
            self._log.event("abandoned_uploads_not_all_seen", message=failure.message)

    def _is_in_time(self, written_at: datetime, until: float) -> bool:
        """Whether a time of the server's clock is before `until`, a `seconds_now()`."""
        ahead = 0.0 if self._client is None else self._client.clock_ahead
        age = time.time() + ahead - written_at.timestamp()
        return seconds_now() - age - _CLOCK_SECONDS <= until

    def _remove_object(self, key: str) -> None:
        for each in (manifest_name(key), key):
            if self._objects.remove(each):
                self._log.event("file_removed", name=each.rpartition("/")[2])
        self._remove_journals(key)

    def _remove_journals(self, key: str) -> None:
        directory, _, file_name = key.rpartition("/")
        for name, _ in self._objects.beside(directory, delivery_journal_name(file_name, "")):
            self._objects.remove(f"{directory}/{name}")
            self._log.event("delivery_journal_removed", name=name)

    def _remove_one(self, key: str) -> bool:
        """Returns whether it was there, or was removed by an earlier run."""
        directory, _, file_name = key.rpartition("/")
        tombstone = f"{directory}/.{file_name}{_TOMBSTONE}"
        self._abort_uploads(key)
        is_there = self._objects.look_up(key) is not None
        if is_there:
            # Without room for it the file goes all the same: a full bucket needs that.
            with contextlib.suppress(Failure):
                self._objects.put(tombstone, b"", {})
        was_there = is_there or self._objects.look_up(tombstone) is not None
        self._remove_object(key)
        return was_there

    def _remove_old_tombstones(self, directory: str) -> None:
        now = datetime.now(UTC)
        for name, written_at in self._objects.beside(directory, _TOMBSTONES):
            is_tombstone = name.endswith(_TOMBSTONE) and names.is_artifact_file_name(
                name[1 : -len(_TOMBSTONE)]
            )
            if is_tombstone and now - written_at > _TOMBSTONE_AGE:
                self._objects.remove(f"{directory}/{name}")


@dataclass(frozen=True, slots=True)
class _FinishedObject:
    objects: Objects
    request: Request

    def notes(self, kind: str) -> "_Notes":
        directory, _, file_name = self.request.artifact_path.rpartition("/")
        return _Notes(self.objects, f"{directory}/{delivery_journal_name(file_name, kind)}")

    @contextlib.contextmanager
    def opened(self, size: int) -> "Iterator[_RangeReader]":
        with _deferred("The export's file can't be read"):
            found = self.objects.look_up(self.request.artifact_path)
        if found is None:
            raise file_missing(IN_BUCKET)
        if found.size != size:
            raise file_changed(IN_BUCKET)
        yield _RangeReader(self.objects, self.request.artifact_path, found)


@dataclass(frozen=True, slots=True)
class _RangeReader:
    objects: Objects
    key: str
    found: Found

    def read_at(self, offset: int, size: int) -> bytes:
        wanted = min(size, self.found.size - offset)
        with _deferred("The export's file can't be read"):
            piece = self.objects.read_range(self.key, offset, max(0, wanted), self.found.etag)
        if piece is None:
            raise file_changed(IN_BUCKET)
        return piece


@dataclass(frozen=True, slots=True)
class _Notes:
    objects: Objects
    key: str

    def read(self) -> dict[str, Any] | None:
        with _deferred(_NOTES):
            return json_object(self.objects.read(self.key, _LARGEST_NOTES_BYTES) or b"")

    def begin(self, notes: dict[str, Any]) -> None:
        self.write(notes)

    def write(self, notes: dict[str, Any]) -> None:
        with _deferred(_NOTES):
            self.objects.put(
                self.key, json.dumps(notes).encode(), {"Content-Type": "application/json"}
            )

    def remove(self) -> None:
        with _deferred(_NOTES):
            self.objects.remove(self.key)


_NOTES = (
    "The delivery's notes in the bucket can't be read or written, and without them things might be "
    "sent twice"
)


@contextlib.contextmanager
def _deferred(what: str) -> Iterator[None]:
    """Makes of a failure of the storage one of a delivery, which is tried again."""
    try:
        yield
    except Failure as failure:
        raise Failure(ExitCode.DELIVERY_DEFERRED, f"{what}. {failure.message}") from None
