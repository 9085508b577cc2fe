"""The S3 server in a pod that other tests trust: over TLS, it loses nothing, and it can be full."""

import secrets
from collections.abc import Iterator

import httpx
import pytest
from playground.s3_server import S3Pod
from playground.tools import namespace
from s3_pod import reached


@pytest.fixture(scope="module")
def own_namespace() -> Iterator[str]:
    with namespace(f"backupexport-s3-{secrets.token_hex(3)}") as name:
        yield name


def test_what_it_has_outlives_it(own_namespace: str) -> None:
    pod = S3Pod(own_namespace)
    pod.start()
    with reached(pod) as bucket:
        bucket.put("a/b", b"kept", {"project": "p"})
        before = bucket.objects()
    pod.stop()
    pod.start()
    with reached(pod) as bucket:
        assert bucket.objects() == before
        assert bucket.get("a/b") == b"kept"


def test_a_small_one_is_full_soon(own_namespace: str) -> None:
    pod = S3Pod(own_namespace, "small", tls=False, memory="8Mi")
    pod.start()
    with reached(pod) as bucket:
        bucket.put("fits", bytes(4 << 20))
        with pytest.raises(httpx.HTTPStatusError, match="507"):
            bucket.put("does-not", bytes(5 << 20))
        assert bucket.keys() == ["fits"]
