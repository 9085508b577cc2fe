"""What goes wrong at a bucket is told in words, with the exit code that says if it may heal."""

import re
import socket
from pathlib import Path

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.bucket.failures import BucketErrors, kind_of
from backupexport_runner.task.failure import Failure
from backupexport_runtime.buckets import Problem
from bucket_bench import (
    KEY,
    BucketBench,
    bucket_environment,
    storage_values,
    uploads,
    write_secret,
)
from certificate_authority import Authority
from runner_bench import Bench, environment
from s3_faults import ANSWER, CUT, DELAY, Fault
from s3_server import s3_server

ONE_KIND = pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "InvalidAccessKeyId", "credentials"),
        (403, "SignatureDoesNotMatch", "credentials"),
        (401, "", "credentials"),
        (403, "ExpiredToken", "expired"),
        (400, "ExpiredToken", "expired"),
        (404, "NoSuchBucket", "bucket"),
        (404, "ContainerNotFound", "bucket"),
        (400, "AuthorizationHeaderMalformed", "region"),
        (301, "PermanentRedirect", "region"),
        (301, "", "region"),
        (403, "RequestTimeTooSkewed", "skew"),
        (403, "AccessDenied", "denied"),
        (403, "", "denied"),
        (403, "QuotaExceeded", "full"),
        (507, "XMinioStorageFull", "full"),
        (507, "", "full"),
        (503, "SlowDown", "away"),
        (503, "", "away"),
        (500, "InternalError", "away"),
        (429, "TooManyRequests", "away"),
        (400, "RequestTimeout", "away"),
        (409, "OperationAborted", "away"),
        (501, "NotImplemented", "refused"),
        (400, "InvalidArgument", "refused"),
    ],
)
def test_each_answer_is_of_a_kind(status: int, code: str, kind: str) -> None:
    assert kind_of(Problem(status, code, "")) == kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("certificate verify failed: unable to get local issuer certificate", "certificate"),
        ("invalid peer certificate: UnknownIssuer", "certificate"),
        ("error performing token request to http://169.254.169.254", "identity"),
        ("Connection refused", "away"),
        ("", "away"),
    ],
)
def test_so_is_the_lack_of_one(message: str, kind: str) -> None:
    assert kind_of(Problem(None, "", message)) == kind


def test_a_servers_words_are_cut_and_cleaned() -> None:
    hostile = Problem(400, "Odd", "x\x1b[31m\n\u202e" + "y" * 10_000)
    failure = BucketErrors("s3://b").failure(hostile, "write")
    assert len(failure.message) < 500
    assert re.search(r"[\x00-\x1f\u202e]", failure.message) is None


def test_amazons_permissions_are_named_for_its_protocol_alone() -> None:
    denied, action = Problem(403, "AccessDenied", ""), "read (s3:GetObject)"
    assert "to read (s3:GetObject): allow" in BucketErrors("s3://b").failure(denied, action).message
    for root in ("gs://b", "az://account/b"):
        assert "forbids to read: allow" in BucketErrors(root).failure(denied, action).message


def refused(bench: BucketBench, environment: dict[str, str]) -> Failure:
    """What an export comes to; it leaves nothing."""
    with pytest.raises(Failure) as caught:
        bench.bench.run(environment)
    assert uploads(bench.bucket) == []
    assert bench.bucket.keys() == []
    return caught.value


@ONE_KIND
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bucket": "nonesuch-bucket"}, "doesn't exist"),
        ({"region": "eu-west-1"}, "correct region"),
    ],
)
def test_settings_that_are_wrong(
    bucket_bench: BucketBench, change: dict[str, str], words: str
) -> None:
    bucket_bench.says(1000)
    values = storage_values(bucket_bench.server, bucket_bench.bucket.name, **change)
    failure = refused(bucket_bench, bucket_bench.environment() | bucket_environment(values))
    assert (failure.exit_code, words in failure.message) == (ExitCode.STORAGE_UNWRITABLE, True)


@ONE_KIND
def test_a_wrong_key(bucket_bench: BucketBench) -> None:
    secret = "canary-of-a-wrong-secret"
    write_secret(bucket_bench.bench, bucket_bench.server, secret)
    failure = refused(bucket_bench, bucket_bench.environment())
    assert failure.exit_code == ExitCode.STORAGE_UNWRITABLE
    assert "correct the keys" in failure.message
    assert secret not in failure.message + bucket_bench.bench.output.getvalue()


@ONE_KIND
def test_half_a_secret(bucket_bench: BucketBench) -> None:
    (bucket_bench.bench.configuration.storage / "AWS_SECRET_ACCESS_KEY").unlink()
    failure = refused(bucket_bench, bucket_bench.environment())
    assert failure.exit_code == ExitCode.STORAGE_UNWRITABLE
    assert "no AWS_SECRET_ACCESS_KEY" in failure.message


@ONE_KIND
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "code", "count", "exit_code", "words"),
    [
        (507, "XMinioStorageFull", 6, ExitCode.STORAGE_FULL, "is full"),
        (403, "QuotaExceeded", 7, ExitCode.STORAGE_FULL, "is full"),
        (403, "AccessDenied", 6, ExitCode.STORAGE_UNWRITABLE, "forbids to"),
        (403, "RequestTimeTooSkewed", 0, ExitCode.STORAGE_AWAY, "clock"),
        (503, "SlowDown", 0, ExitCode.STORAGE_AWAY, "doesn't answer, or fails"),
        (503, "SlowDown", 6, ExitCode.STORAGE_FALTERING, "doesn't answer, or fails"),
    ],
)
def test_what_the_server_refuses_on_the_way(
    bucket_bench: BucketBench,
    status: int,
    code: str,
    count: int,
    exit_code: ExitCode,
    words: str,
) -> None:
    bucket_bench.says(17 * MIB)
    # The answer to HEAD doesn't say why, so that GET asks once more.
    times = {"SlowDown": 4, "RequestTimeTooSkewed": 2}.get(code, 1)
    fault = Fault(ANSWER, times, status=status, code=code)
    bucket_bench.proxy.let_through(count, fault)
    with pytest.raises(Failure, match=words) as caught:
        bucket_bench.bench.run(bucket_bench.environment())
    assert caught.value.exit_code == exit_code
    assert "of the tests" in caught.value.message or code == "SlowDown"
    is_left = bool(uploads(bucket_bench.bucket))
    # An upload stays only where the server didn't take its end either, and that is told.
    assert bucket_bench.bench.interruption.is_anything_left or not is_left
    assert not is_left or code == "SlowDown"
    assert bucket_bench.bucket.keys() == []


@ONE_KIND
@pytest.mark.parametrize(
    "fault",
    [
        Fault(ANSWER, 2),
        Fault(ANSWER, 2, status=500, code="InternalError"),
        Fault(CUT, 1),
        Fault(DELAY, 1, seconds=1),
    ],
)
@pytest.mark.parametrize("count", [0, 3, 6, 8])
def test_what_passes_is_waited_for(bucket_bench: BucketBench, fault: Fault, count: int) -> None:
    content = bucket_bench.says(17 * MIB)
    bucket_bench.proxy.let_through(count, fault)
    bucket_bench.bench.run(bucket_bench.environment())
    bucket_bench.require_whole(content)


@ONE_KIND
@pytest.mark.usefixtures("impatient")
def test_nobody_listens(bucket_bench: BucketBench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        values = storage_values(
            bucket_bench.server,
            bucket_bench.bucket.name,
            endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}",
        )
        failure = refused(bucket_bench, bucket_bench.environment() | bucket_environment(values))
    assert failure.exit_code == ExitCode.STORAGE_AWAY


@ONE_KIND
@pytest.mark.usefixtures("impatient")
def test_a_dump_that_fails_leaves_nothing_and_says_why(bucket_bench: BucketBench) -> None:
    bucket_bench.bench.says("yes | head -c 30000000; echo 'disk on fire' >&2; exit 1")
    failure = refused(bucket_bench, bucket_bench.environment())
    assert "disk on fire" in failure.message
    assert not bucket_bench.bench.interruption.is_anything_left


def test_only_an_authority_that_the_storage_names_is_trusted(tmp_path: Path) -> None:
    bench, authority = Bench(tmp_path), Authority(tmp_path)
    with s3_server(
        tmp_path / "server", certificate=authority.issue("127.0.0.1"), authority=authority.pem
    ) as server:
        write_secret(bench, server)
        bench.says(f"yes | head -c {9 * MIB}")
        with server.client() as client:
            bucket = client.bucket("with-tls").make()
            values = storage_values(server, bucket.name)
            with pytest.raises(Failure, match="isn't trusted") as caught:
                bench.run(environment(compression="none") | bucket_environment(values))
            assert caught.value.exit_code == ExitCode.STORAGE_UNWRITABLE
            trusting = bucket_environment(values | {"caCertificates": authority.pem})
            artifact = bench.run(environment(compression="none") | trusting)
            assert len(bucket.get(KEY)) == artifact.size_bytes == 9 * MIB
