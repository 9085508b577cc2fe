"""Whatever dies at whichever request: nothing that isn't whole has the name, and nothing stays."""

import signal
from contextlib import suppress

import pytest
from backupexport_runner.task.failure import Failure
from bucket_bench import BucketBench
from runner_process import start
from s3_faults import DROP_AFTER, DROP_BEFORE, DROP_WITHIN, Fault

# Three parts.
SIZE = 17 * 1024 * 1024
SMALL = 1000
# Far more requests than an export makes.
MOST_REQUESTS = 60


def _assert_the_next_attempt_succeeds(bench: BucketBench, content: bytes) -> None:
    bench.require_whole_or_nothing(content)
    bench.proxy.heal()
    bench.bench.run(bench.environment())
    bench.require_whole(content)
    bench.empty()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)
@pytest.mark.parametrize("what", [DROP_BEFORE, DROP_WITHIN, DROP_AFTER])
@pytest.mark.parametrize("size", [SMALL, SIZE])
def test_the_network_ends_at_any_request(bucket_bench: BucketBench, what: str, size: int) -> None:
    content = bucket_bench.says(size)
    for count in range(MOST_REQUESTS):
        bucket_bench.proxy.let_through(count, Fault(what))
        with suppress(Failure):
            bucket_bench.bench.run(bucket_bench.environment())
            break
        _assert_the_next_attempt_succeeds(bucket_bench, content)
    assert 5 < count < MOST_REQUESTS - 1
    bucket_bench.require_whole(content)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)
@pytest.mark.parametrize("size", [SMALL, SIZE])
def test_the_runner_is_killed_at_any_request(bucket_bench: BucketBench, size: int) -> None:
    content = bucket_bench.says(size)
    for count in range(MOST_REQUESTS):
        bucket_bench.proxy.let_through(count, Fault(DROP_AFTER))
        process = start(bucket_bench.bench, bucket_bench.environment())
        bucket_bench.proxy.on_fault = process.kill
        process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        _assert_the_next_attempt_succeeds(bucket_bench, content)
    assert 5 < count < MOST_REQUESTS - 1
    bucket_bench.require_whole(content)
