"""What may happen beside an export or its cleanup: keys that change, others who come in between."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.storages import Storage as StorageSettings
from backupexport_runner.bucket import failures, s3_client, storage
from backupexport_runner.bucket.failures import BucketErrors
from backupexport_runner.bucket.new_object import object_attributes
from backupexport_runner.bucket.objects import Objects
from backupexport_runner.bucket.s3_client import S3Client
from backupexport_runner.bucket.upload import S3Upload
from backupexport_runner.storage.failures import TakenOverFailure
from backupexport_runner.storage.interface import Storage
from backupexport_runner.storages import open_storage
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import read_request
from backupexport_runtime import buckets
from backupexport_runtime.buckets import Bucket
from bucket_bench import (
    FILE_NAME,
    KEY,
    PREFIX,
    PROJECT,
    BucketBench,
    bucket_environment,
    storage_values,
    uploads,
)
from s3_faults import ANSWER, Fault

MIB = 1024 * 1024
ONE_KIND = pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)


@contextmanager
def opened(bench: BucketBench) -> Iterator[Storage]:
    runner = bench.bench
    log = Log(Scrubber(), runner.output)
    opened_one = open_storage(bench.environment(), runner.configuration, log, runner.interruption)
    with closing(opened_one):
        yield opened_one


def test_metadata_of_azure_has_names_that_are_identifiers() -> None:
    names = {
        is_azure: set(object_attributes("a.sql", "j", "p", "a", is_azure=is_azure))
        for is_azure in (False, True)
    }
    headers = {"Content-Type", "Content-Disposition"}
    assert names[False] - headers == {"job-id", "project-id", "attempt"}
    assert names[True] - headers == {"job_id", "project_id", "attempt"}
    assert all(name.isidentifier() for name in names[True] - headers)


@ONE_KIND
def test_a_bucket_that_is_gone_is_no_missing_object(bucket_bench: BucketBench) -> None:
    settings = StorageSettings.model_validate(storage_values(bucket_bench.server, "nonesuch"))
    bucket = Bucket(settings, bucket_bench.bench.configuration.storage)
    objects = Objects(bucket, BucketErrors(settings.root))
    for ask in (
        lambda: objects.look_up("a"),
        lambda: objects.read("a", 10),
        lambda: objects.read_range("a", 0, 10, ""),
        lambda: objects.beside("a", ".2"),
        lambda: list(objects.sizes("a")),
    ):
        with pytest.raises(Failure, match="create the bucket or correct its name") as caught:
            ask()
        assert caught.value.exit_code == ExitCode.STORAGE_UNWRITABLE


@ONE_KIND
def test_a_cleanup_removes_what_was_completed_before_its_abort(
    bucket_bench: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket_bench.bucket.begin_upload(KEY)
    abort = S3Client.abort_upload

    def late(client: S3Client, key: str, upload_id: str) -> bool:
        is_gone = abort(client, key, upload_id)
        bucket_bench.bucket.put(KEY, b"completed")
        return is_gone

    monkeypatch.setattr(S3Client, "abort_upload", late)
    with opened(bucket_bench) as tidied:
        assert tidied.tidy(read_request(bucket_bench.environment())) is None
    assert bucket_bench.bucket.keys() == []


@ONE_KIND
@pytest.mark.parametrize("removed", [KEY, f"{KEY}.json"])
def test_what_a_cleanup_took_meanwhile_is_not_called_done(
    bucket_bench: BucketBench, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    bucket_bench.says(1000)
    put_json = Objects.put_json

    def then_removed(objects: Objects, key: str, fields: Any) -> None:
        put_json(objects, key, fields)
        bucket_bench.bucket.delete(removed)

    monkeypatch.setattr(Objects, "put_json", then_removed)
    with pytest.raises(TakenOverFailure):
        bucket_bench.bench.run(bucket_bench.environment())
    assert f"{KEY}.json" not in bucket_bench.bucket.keys()  # noqa: SIM118 - no mapping


# 0: look-up, 1: its GET, 2: uploads, 3: manifest, 4: sweep, 5: upload, 6-8: parts, 9: completion,
# 10: manifest.
@ONE_KIND
@pytest.mark.parametrize("count", [3, 4, 5, 7, 9, 10])
@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "ExpiredToken"])
def test_keys_that_are_replaced_are_waited_for(
    bucket_bench: BucketBench, monkeypatch: pytest.MonkeyPatch, count: int, code: str
) -> None:
    monkeypatch.setattr(failures, "_SECONDS_BETWEEN_KEYS", 0.0)
    monkeypatch.setattr(buckets, "_SECONDS_BETWEEN_READS", 0.0)
    content = bucket_bench.says(17 * MIB)
    secret = bucket_bench.bench.configuration.storage / "AWS_SECRET_ACCESS_KEY"
    old = secret.read_text()
    answered = 0

    def answer() -> None:
        # What the files have by then is wrong, and right only after a further refusal.
        nonlocal answered
        answered += 1
        secret.write_text("wrong" if answered == 1 else old)

    bucket_bench.proxy.on_fault = answer
    bucket_bench.proxy.let_through(count, Fault(ANSWER, 2, status=403, code=code))
    bucket_bench.bench.run(bucket_bench.environment())
    bucket_bench.require_whole(content)


@ONE_KIND
def test_keys_that_stay_refused_are_no_fault_of_the_export(
    bucket_bench: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_SECONDS_FOR_NEW_KEYS", 0.0)
    bucket_bench.says(17 * MIB)
    bucket_bench.proxy.let_through(6, Fault(ANSWER, status=403, code="InvalidAccessKeyId"))
    with pytest.raises(Failure, match="correct the keys") as caught:
        bucket_bench.bench.run(bucket_bench.environment())
    assert caught.value.exit_code == ExitCode.STORAGE_FALTERING


@pytest.mark.parametrize("below", ["", "name"])
def test_keys_are_read_of_one_version(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StorageSettings.model_validate({"s3": {"bucket": "abc"}})
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    data = tmp_path / "..data"
    for version in ("old", "new"):
        (tmp_path / version / below).mkdir(parents=True)
        for key in keys:
            (tmp_path / version / below / key).write_text(version)
    data.symlink_to("old")
    # As the kubelet does: a link for each name at the volume's root.
    for name in [below] if below else keys:
        (tmp_path / name).symlink_to(f"..data/{name}")
    open_path = Path.open

    def swapped_after_the_first(path: Path, *arguments: Any, **more: Any) -> Any:
        file = open_path(path, *arguments, **more)
        if path.name == keys[0] and (tmp_path / "old").exists():
            data.unlink()
            data.symlink_to("new")
            shutil.rmtree(tmp_path / "old")
        return file

    monkeypatch.setattr(Path, "open", swapped_after_the_first)
    assert buckets.read_credentials(settings, tmp_path / below) == dict.fromkeys(keys, "new")


@ONE_KIND
def test_a_secret_that_is_not_there_is_waited_for(bucket_bench: BucketBench) -> None:
    for file in bucket_bench.bench.configuration.storage.iterdir():
        file.unlink()
    values = storage_values(bucket_bench.server, bucket_bench.bucket.name)
    named = bucket_environment({**values, "secretRef": {"name": "absent"}})
    assert "absent" not in str(named)
    with pytest.raises(Failure, match="none of the keys AWS_ACCESS_KEY_ID") as caught:
        bucket_bench.bench.run(bucket_bench.environment() | named)
    assert caught.value.exit_code == ExitCode.SECRET_MISSING
    assert bucket_bench.proxy.requests == []


@ONE_KIND
def test_an_export_aborts_the_projects_abandoned_uploads(
    bucket_bench: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = bucket_bench.bucket
    other = f"{PREFIX}/{PROJECT}/deep/{FILE_NAME}"
    foreign = [f"{PREFIX}/{PROJECT}/notes", f"{PREFIX}/{PROJECT}2/{FILE_NAME}"]
    for key in (other, *foreign):
        bucket.put_part(bucket.begin_upload(key), 1, b"half")
    with opened(bucket_bench) as swept:
        swept.room({}, PROJECT)
        assert uploads(bucket) == sorted([other, *foreign])
        monkeypatch.setattr(storage, "_ABANDONED_SECONDS", -10.0)
        # Somebody goes on with one that began long ago.
        monkeypatch.setattr(S3Client, "last_part_at", lambda *_: seconds_now() + 60)
        swept.room({}, PROJECT)
        assert uploads(bucket) == sorted([other, *foreign])
        monkeypatch.undo()
        monkeypatch.setattr(storage, "_ABANDONED_SECONDS", -10.0)
        swept.room({}, PROJECT)
    assert uploads(bucket) == sorted(foreign)
    assert "abandoned_upload_aborted" in bucket_bench.bench.output.getvalue()


@ONE_KIND
def test_the_last_part_tells_whether_somebody_goes_on(bucket_bench: BucketBench) -> None:
    bench = bucket_bench
    upload = bench.bucket.begin_upload(KEY)
    bench.bucket.put_part(upload, 1, b"a")
    settings = StorageSettings.model_validate(storage_values(bench.server, bench.bucket.name))
    assert settings.s3 is not None
    secret = bench.bench.configuration.storage
    client = S3Client(
        Bucket(settings, secret), settings.s3, BucketErrors(settings.root), lambda: False
    )
    with closing(client):
        (found,) = client.uploads(KEY.removeprefix(f"{PREFIX}/"))
        # A time of long before, as far as the upload itself tells.
        last = client.last_part_at(replace(found, initiated_at=0.0))
    assert abs(seconds_now() - last) < 60


@ONE_KIND
def test_the_nodes_clock_may_be_wrong(
    bucket_bench: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket_bench.bucket.put(KEY, b"of the successor")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    request = read_request(bucket_bench.environment())
    with opened(bucket_bench) as tidied:
        assert tidied.tidy(request, seconds_now() - 30) is None
        assert bucket_bench.bucket.keys() == [KEY]
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        assert tidied.tidy(request, seconds_now() + 2) is None
    assert bucket_bench.bucket.keys() == []


@ONE_KIND
def test_the_manifest_does_not_wait_for_the_checksum(bucket_bench: BucketBench) -> None:
    bucket_bench.says(9 * MIB)
    bucket_bench.bench.run(bucket_bench.environment())
    puts = [
        re.sub(r".*/", "", each)
        for each in bucket_bench.proxy.requests
        if each.startswith("PUT") and "?" not in each
    ]
    assert puts == [f"{FILE_NAME}.json", FILE_NAME]


def test_what_else_was_begun_is_no_matter_once_it_is_complete() -> None:
    class Client:
        def complete_upload(self, *_: Any, **__: Any) -> None:
            """Goes well."""

        def uploads(self, _: str) -> list[s3_client.Upload]:
            raise Failure(ExitCode.STORAGE_FALTERING, "away")

    writing = S3Upload(cast("S3Client", Client()), "k", {}, 0, lambda: None, lambda: True)
    writing._may_have_more = True
    writing.complete()
