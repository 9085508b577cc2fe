"""The S3 servers in pods that other tests trust: one loses nothing, is full, or fails when told."""

import secrets
from collections.abc import Iterator

import httpx
import pytest
from playground.s3_server import S3Pod
from playground.tools import namespace
from s3_client import S3Client
from s3_faults import ANSWER, Fault
from s3_pod import FaultProxyPod, forwarded, reached


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


@pytest.mark.parametrize("image", ["S3_IMAGE", "OTHER_S3_IMAGE"])
def test_a_proxy_before_it_fails_when_told(own_namespace: str, image: str) -> None:
    name = image.lower().replace("_", "-")
    pod = S3Pod(own_namespace, name, image=image)
    pod.start()
    proxy = FaultProxyPod(pod, f"{name}-faults")
    proxy.start()
    with (
        forwarded(own_namespace, proxy.name, proxy.port) as url,
        S3Client(url, pod.owner) as client,
    ):
        bucket = client.bucket(pod.bucket)
        before = proxy.requests()
        proxy.let_through(1, Fault(ANSWER, times=1))
        bucket.put("a", b"1")
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            bucket.put("b", b"1")
        assert bucket.keys() == ["a"]
        came = proxy.requests()[len(before) :]
    assert came[:2] == ["PUT /exports/a", "PUT /exports/b"]
