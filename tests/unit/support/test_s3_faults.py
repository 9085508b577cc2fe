"""The proxy that fails on request: what it breaks is what a test asked for, and nothing else."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from s3_client import Bucket, S3Client
from s3_faults import (
    ANSWER,
    CUT,
    DELAY,
    DROP_AFTER,
    DROP_BEFORE,
    DROP_WITHIN,
    Fault,
    FaultProxy,
)
from s3_server import S3Server

_LARGE = bytes(range(256)) * 4096


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.url) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3_server: S3Server, s3_bucket: Bucket, proxy: FaultProxy) -> Iterator[Bucket]:
    """The test's bucket, as seen through the proxy."""
    with S3Client(proxy.url, s3_server.owner) as client:
        yield client.bucket(s3_bucket.name)


def test_without_a_fault_all_goes_through(proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.put("a/b c", _LARGE, {"project": "p"})
    assert bucket.get("a/b c") == _LARGE
    assert [one.metadata for one in bucket.objects()] == [{"project": "p"}]
    bucket.delete("a/b c")
    assert bucket.keys() == []
    methods = [request.partition(" ")[0] for request in proxy.requests]
    assert methods == ["PUT", "GET", "GET", "HEAD", "DELETE", "GET"]
    assert proxy.requests[0] == f"PUT /{bucket.name}/a/b%20c"


@pytest.mark.parametrize("what", [DROP_BEFORE, DROP_WITHIN, DROP_AFTER])
def test_connections_drop_for_good(
    what: str, proxy: FaultProxy, bucket: Bucket, s3_bucket: Bucket
) -> None:
    seen: list[list[str]] = []
    proxy.on_fault = lambda: seen.append(s3_bucket.keys())
    proxy.let_through(1, Fault(what))
    bucket.put("first", b"1")
    for key in ("second", "third"):
        with pytest.raises(httpx.TransportError):
            bucket.put(key, _LARGE)
    reached = ["first", "second"] if what == DROP_AFTER else ["first"]
    assert seen == [reached, reached]
    assert len(proxy.requests) == 3
    proxy.heal()
    assert bucket.keys() == reached


def test_a_busy_server_is_busy_for_as_long_as_told(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.let_through(1, Fault(ANSWER, times=2))
    bucket.put("first", b"1")
    for _ in range(2):
        with pytest.raises(httpx.HTTPStatusError) as busy:
            bucket.put("second", _LARGE)
        assert busy.value.response.status_code == 503
        assert "<Code>SlowDown</Code>" in busy.value.response.text
    assert bucket.keys() == ["first"]
    bucket.put("second", _LARGE)


def test_any_error_can_be_answered(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.let_through(0, Fault(ANSWER, times=1, status=403, code="RequestTimeTooSkewed"))
    with pytest.raises(httpx.HTTPStatusError) as refused:
        bucket.get("a")
    assert refused.value.response.status_code == 403
    assert "<Code>RequestTimeTooSkewed</Code>" in refused.value.response.text


def test_an_answer_is_cut(proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.put("large", _LARGE)
    proxy.let_through(0, Fault(CUT, times=2))
    with pytest.raises(httpx.RemoteProtocolError, match="received 524288 bytes"):
        bucket.get("large")
    # It has no body to be cut in.
    with pytest.raises(httpx.RemoteProtocolError):
        bucket.delete("large")
    assert bucket.keys() == []


def test_a_delay_delays(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.let_through(0, Fault(DELAY, times=1, seconds=0.5))
    begun = time.monotonic()
    bucket.put("late", b"1")
    assert time.monotonic() - begun >= 0.5
    assert bucket.keys() == ["late"]


def test_a_pod_is_told_over_http(proxy: FaultProxy, bucket: Bucket) -> None:
    def ask(what: str, told: object) -> None:
        # In pieces, as the API server passes it on.
        pieces = iter([json.dumps(told).encode()])
        answer = httpx.post(f"{proxy.url}/-/{what}", content=pieces, trust_env=False)
        answer.raise_for_status()

    ask("let-through", {"count": 1, "fault": {"what": ANSWER, "status": 500, "code": "X"}})
    bucket.put("a", b"")
    with pytest.raises(httpx.HTTPStatusError, match="500"):
        bucket.put("b", b"")
    ask("heal", {})
    assert bucket.keys() == ["a"]
    told = httpx.get(f"{proxy.url}/-/requests", trust_env=False).json()
    assert told == proxy.requests
    assert len(told) == 3
