"""From a test to an S3 server in a pod, and a proxy with faults between pods and it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import s3_faults
from kept_forward import kept_forward
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.s3_server import PORT, S3Pod
from playground.tools import apply, get_raw, images, kubectl, wait_for
from s3_client import Bucket, S3Client
from s3_faults import Fault

_START_SECONDS = 120
_FAULTS_PORT = 7071


@contextmanager
def reached(pod: S3Pod) -> Iterator[Bucket]:
    """The server's bucket, asked as its owner, for as long as the context lasts."""
    authority = pod.authority
    with (
        forwarded(pod.namespace, pod.name, PORT, is_tls=authority is not None) as url,
        S3Client(url, pod.owner, pod.region, authority) as client,
    ):
        yield client.bucket(pod.bucket)


@contextmanager
def forwarded(namespace: str, service: str, port: int, *, is_tls: bool = False) -> Iterator[str]:
    """The URL of an S3 server's Service, or of its proxy's, for as long as the context lasts."""
    with kept_forward(namespace, f"service/{service}", port) as local:
        url = f"{'https' if is_tls else 'http'}://127.0.0.1:{local}"

        def look() -> bool:
            # Whoever vouches for it: that is what a client asks.
            try:
                return httpx.get(f"{url}/readyz", verify=False, trust_env=False).is_success
            except httpx.TransportError:
                return False

        wait_for(look, f"an answer of {service}", _START_SECONDS)
        yield url


class FaultProxyPod:
    """`s3_faults` in a pod in front of a server in the same namespace; clients take its `url`."""

    def __init__(self, server: S3Pod, name: str = "s3-faults") -> None:
        self._server, self.name, self.port = server, name, _FAULTS_PORT
        self.url = f"http://{name}.{server.namespace}.svc:{self.port}"

    def start(self) -> None:
        """Create it and wait until it listens."""
        apply(self._service(), self._pod())
        kubectl(
            "-n", self._server.namespace, "wait", "--for=condition=Ready", f"pod/{self.name}",
            "--timeout=240s",
        )  # fmt: skip

    def let_through(self, count: int, fault: Fault) -> None:
        """Let `count` more requests through, and then comes the fault."""
        self._tell("let-through", {"count": count, "fault": asdict(fault)})

    def heal(self) -> None:
        """Let all through."""
        self._tell("heal", {})

    def requests(self) -> list[str]:
        """Method and target of all that has come, in order."""
        found: list[str] = json.loads(get_raw(f"{self._control}/requests"))
        return found

    @property
    def _control(self) -> str:
        service = f"/api/v1/namespaces/{self._server.namespace}/services/http:{self.name}:http"
        return f"{service}/proxy/-"

    def _tell(self, what: str, told: object) -> None:
        body = json.dumps(told)
        kubectl("create", "--raw", f"{self._control}/{what}", "-f", "-", stdin=body)

    def _service(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self._server.namespace},
            "spec": {
                "selector": {"app.kubernetes.io/name": self.name},
                "ports": [{"name": "http", "port": self.port}],
            },
        }

    def _pod(self) -> dict[str, Any]:
        program = Path(s3_faults.__file__).read_text(encoding="utf-8")
        arguments = [self._server.url, f"--port={self.port}"]
        mounts, volumes = [], []
        if self._server.tls_secret:
            arguments.append("--authority=/tls/ca.crt")
            mounts.append({"name": "tls", "mountPath": "/tls", "readOnly": True})
            items = [{"key": "ca.crt", "path": "ca.crt"}]
            secret = {"secretName": self._server.tls_secret, "items": items}
            volumes.append({"name": "tls", "secret": secret})
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self._server.namespace,
                "labels": {"app.kubernetes.io/name": self.name},
            },
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": POD_SECURITY,
                "containers": [
                    {
                        "name": "proxy",
                        "image": images()["RUNNER_IMAGE"],
                        "command": ["python3", "-c", program],
                        "args": arguments,
                        "readinessProbe": {
                            "tcpSocket": {"port": self.port}, "periodSeconds": 1
                        },
                        "securityContext": CONTAINER_SECURITY,
                        "volumeMounts": mounts,
                    }
                ],
                "volumes": volumes,
            },
        }  # fmt: skip
