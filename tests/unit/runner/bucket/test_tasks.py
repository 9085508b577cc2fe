"""What comes after an export, in a bucket: tidy, remove, check, deliveries; and SIGTERM."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import ENV_TASK, Outcome, read_outcome
from backupexport_runner.bucket import storage as bucket_storage
from backupexport_runner.storage.failures import FileChangedFailure, NotAllRemovedError
from backupexport_runner.storage.interface import Storage
from backupexport_runner.storages import open_storage
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import StoredFile, read_request
from bucket_bench import (
    FILE_NAME,
    KEY,
    PREFIX,
    PROJECT,
    BucketBench,
    bucket_environment,
    manifest,
    storage_values,
    uploads,
)
from playground.tools import wait_for
from runner_process import GRACE_SECONDS, start
from s3_faults import DROP_BEFORE, Fault

MIB = 1024 * 1024
ONE_KIND = pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)
STORED = StoredFile(PROJECT, None, FILE_NAME)
TOMBSTONE = f"{PREFIX}/{PROJECT}/.{FILE_NAME}.removed"
NOTES = f"{PREFIX}/{PROJECT}/.{FILE_NAME}.deliver-telegram"


@contextmanager
def opened(bench: BucketBench) -> Iterator[Storage]:
    log = Log(Scrubber(), bench.bench.output)
    runner = bench.bench
    storage = open_storage(bench.environment(), runner.configuration, log, runner.interruption)
    with closing(storage):
        yield storage


def test_tidy_keeps_what_is_whole_and_nothing_else(bucket_bench: BucketBench) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    request = read_request(bench.environment())
    content = bench.says(1000)
    artifact = bench.bench.run(bench.environment())
    bucket.put(NOTES, b"{}")
    bucket.put_part(bucket.begin_upload(KEY), 1, b"half")
    with opened(bench) as storage:
        assert storage.tidy(request) == artifact
        assert uploads(bucket) == []
        assert bucket.keys() == sorted([KEY, f"{KEY}.json", NOTES])
        # Without a manifest nothing proves that it is whole.
        bucket.delete(f"{KEY}.json")
        assert storage.tidy(request) is None
        assert bucket.keys() == []
    assert content


@pytest.mark.parametrize("changed", ["size_bytes", "attempt", "job_id", "path"])
def test_an_object_that_is_not_its_manifests_goes(bucket_bench: BucketBench, changed: str) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    bench.says(1000)
    bench.bench.run(bench.environment())
    other = {**manifest(bucket), changed: 1 if changed == "size_bytes" else "another"}
    bucket.put(f"{KEY}.json", json.dumps(other).encode())
    with opened(bench) as storage:
        assert storage.tidy(read_request(bench.environment())) is None
    assert bucket.keys() == []


def test_where_the_file_is_no_manifest_tells(bucket_bench: BucketBench) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    bench.says(1000)
    artifact = bench.bench.run(bench.environment())
    other = {**manifest(bucket), "url": "s3://others/secret", "storage": "others"}
    bucket.put(f"{KEY}.json", json.dumps(other).encode())
    with opened(bench) as storage:
        assert storage.tidy(read_request(bench.environment())) == artifact


def test_an_attempt_that_was_held_up_leaves_its_successors(bucket_bench: BucketBench) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    bucket.begin_upload(KEY)
    bucket.put(KEY, b"of the successor")
    with opened(bench) as storage:
        request = read_request(bench.environment())
        assert storage.tidy(request, seconds_now() - 30) is None
        assert bucket.keys() == [KEY]
        assert uploads(bucket) == [KEY]
        assert storage.tidy(request, seconds_now() + 2) is None
    assert bucket.keys() == []
    assert uploads(bucket) == []


def test_remove(bucket_bench: BucketBench) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    bench.says(1000)
    bench.bench.run(bench.environment())
    bucket.put(NOTES, b"{}")
    bucket.put_part(bucket.begin_upload(KEY), 1, b"half")
    neighbour = f"{PREFIX}/{PROJECT}/.{FILE_NAME}x.deliver-telegram"
    bucket.put(neighbour, b"{}")
    with opened(bench) as storage:
        for _ in range(2):
            storage.remove(read_request(bench.environment()))
            assert bucket.keys() == [neighbour]
            assert uploads(bucket) == []


def test_many_are_removed_and_what_is_missing_is_told(bucket_bench: BucketBench) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    bench.says(1000)
    bench.bench.run(bench.environment())
    bucket.put(NOTES, b"{}")
    bucket.begin_upload(KEY)
    other = StoredFile("q", "a/b", FILE_NAME)
    with opened(bench) as storage:
        assert storage.remove_all([STORED, other]) == Outcome(missing=(1,))
        assert bucket.keys() == [TOMBSTONE]
        assert uploads(bucket) == []
        # What an earlier run has removed is not missing.
        assert storage.remove_all([STORED, other]) == Outcome(missing=(1,))


@ONE_KIND
def test_old_tombstones_go(bucket_bench: BucketBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    bucket.put(TOMBSTONE, b"")

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=9)

    monkeypatch.setattr(bucket_storage, "datetime", Later)
    with opened(bench) as storage:
        storage.remove_all([StoredFile(PROJECT, None, FILE_NAME.replace(".sql", ".tar"))])
    assert bucket.keys() == []


@ONE_KIND
@pytest.mark.usefixtures("impatient")
def test_what_is_not_removed_is_told(bucket_bench: BucketBench) -> None:
    bench = bucket_bench
    bench.says(1000)
    bench.bench.run(bench.environment())
    bench.proxy.let_through(0, Fault(DROP_BEFORE))
    with opened(bench) as storage, pytest.raises(NotAllRemovedError) as caught:
        storage.remove_all([STORED, STORED])
    assert caught.value.outcome == Outcome(failed=(0, 1))
    assert caught.value.exit_code == ExitCode.STORAGE_FALTERING


@pytest.mark.parametrize(("stored", "most"), [(1000, 2000), (1999, 2000)])
def test_the_projects_files_are_counted(bucket_bench: BucketBench, stored: int, most: int) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    bucket.put(KEY, b"x" * stored)
    bucket.put(f"{KEY}.json", b"x" * 5000)
    bucket.put(KEY.replace(PROJECT, f"{PROJECT}2"), b"x" * 5000)
    limits = {protocol.ENV_MAX_STORED_BYTES: str(most + 10_000)}
    with opened(bench) as storage:
        assert storage.room(limits, PROJECT).most == most + 10_000 - stored


@ONE_KIND
def test_a_full_project_is_told(bucket_bench: BucketBench) -> None:
    bench = bucket_bench
    bench.bucket.put(KEY, b"x" * 3000)
    with (
        opened(bench) as storage,
        pytest.raises(Failure, match="files in the bucket take") as caught,
    ):
        storage.room({protocol.ENV_MAX_STORED_BYTES: "3001"}, PROJECT)
    assert caught.value.exit_code == ExitCode.STORAGE_FULL


def test_the_check_tries_all_and_leaves_nothing(bucket_bench: BucketBench) -> None:
    values = bucket_bench.environment(**{ENV_TASK: protocol.TASK_CHECK})
    process = start(bucket_bench.bench, values)
    assert process.communicate()[1] == ""
    termination = bucket_bench.bench.configuration.termination_message.read_text()
    assert process.returncode == 0, termination
    assert "takes objects, gives them back, lists, signs" in str(read_outcome(termination).message)
    assert bucket_bench.bucket.keys() == []
    assert uploads(bucket_bench.bucket) == []


@ONE_KIND
def test_the_check_says_what_is_wrong(bucket_bench: BucketBench) -> None:
    storage = storage_values(bucket_bench.server, "nonesuch-bucket")
    values = bucket_bench.environment(**{ENV_TASK: protocol.TASK_CHECK})
    process = start(bucket_bench.bench, values | bucket_environment(storage))
    process.communicate()
    termination = bucket_bench.bench.configuration.termination_message.read_text()
    outcome = read_outcome(termination)
    assert process.returncode == ExitCode.STORAGE_UNWRITABLE
    assert outcome.reason == "StorageUnwritable"
    assert "doesn't exist: create the bucket or correct its name (404" in str(outcome.message)


def test_a_delivery_reads_ranges_and_keeps_notes(bucket_bench: BucketBench) -> None:
    bench, bucket = bucket_bench, bucket_bench.bucket
    content = bench.says(5000)
    artifact = bench.bench.run(bench.environment())
    with opened(bench) as storage, storage.finished(read_request(bench.environment())) as file:
        notes = file.notes("telegram")
        assert notes.read() is None
        notes.begin({"a": 1})
        notes.write({"a": 2})
        assert notes.read() == {"a": 2}
        assert NOTES in bucket.keys()  # noqa: SIM118 - no mapping
        notes.remove()
        assert notes.read() is None
        with file.opened(artifact.size_bytes) as reader:
            assert reader.read_at(0, 10) == content[:10]
            assert reader.read_at(4990, 100) == content[4990:]
            assert reader.read_at(5000, 100) == b""
            bucket.put(KEY, b"z" * 5000)
            # gofakes3 knows no If-Match; whoever reads compares the checksum, too.
            if bench.server.kind != "gofakes3":
                with pytest.raises(FileChangedFailure, match="in the bucket"):
                    reader.read_at(0, 10)
        with pytest.raises(FileChangedFailure), file.opened(4999):
            pass
        bucket.delete(KEY)
        with pytest.raises(Failure, match="not in the bucket") as caught, file.opened(5000):
            pass
        assert caught.value.exit_code == ExitCode.FILE_MISSING


@ONE_KIND
@pytest.mark.parametrize("is_network_gone", [False, True])
def test_sigterm_aborts_the_upload_or_says_that_it_may_be_there(
    bucket_bench: BucketBench, is_network_gone: bool
) -> None:
    bench = bucket_bench
    bench.bench.says("yes | head -c 30000000; touch $0.said; exec sleep 600")
    patient = {} if is_network_gone else {"TEST_STOP_SECONDS": "60"}
    process = start(bench.bench, bench.environment(**patient))
    program = bench.bench.configuration.clients / "17/bin/pg_dump.said"
    wait_for(lambda: program.exists() and uploads(bench.bucket), "an upload", 60)
    if is_network_gone:
        bench.proxy.let_through(0, Fault(DROP_BEFORE))
    process.send_signal(signal.SIGTERM)
    # Without a network it gives up while its pod still has time.
    output, errors = process.communicate(timeout=GRACE_SECONDS if is_network_gone else 90)
    assert (process.returncode, errors) == (ExitCode.INTERRUPTED, "")
    events = [json.loads(line)["event"] for line in output.splitlines()]
    is_left = bool(uploads(bench.bucket))
    assert is_left == is_network_gone == ("partial_file_left" in events)
    assert bench.bench.configuration.termination_message.exists() != is_left
    assert bench.bucket.keys() == []
