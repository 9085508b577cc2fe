"""Ways from a test to an S3 server in a pod."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from playground.forward import free_port
from playground.s3_server import PORT, S3Pod
from playground.tools import STATE, environment, wait_for
from s3_client import Bucket, S3Client

_START_SECONDS = 30


@contextmanager
def reached(pod: S3Pod) -> Iterator[Bucket]:
    """The server's bucket, asked as its owner, for as long as the context lasts."""
    port = free_port()
    process = subprocess.Popen(
        [
            STATE / "bin" / "kubectl", "-n", pod.namespace, "port-forward",
            "--address=127.0.0.1", f"service/{pod.name}", f"{port}:{PORT}",
        ],
        env=environment(),
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"{'https' if pod.authority else 'http'}://127.0.0.1:{port}"

    def look() -> bool:
        # Whoever vouches for it: that is what the client below asks.
        try:
            return httpx.get(f"{url}/readyz", verify=False, trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        wait_for(look, f"an answer of {pod.name}", _START_SECONDS)
        with S3Client(url, pod.owner, pod.region, pod.authority) as client:
            yield client.bucket(pod.bucket)
    finally:
        process.terminate()
        process.wait()
