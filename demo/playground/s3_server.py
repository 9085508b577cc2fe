"""An S3 server (cluster/s3) in a pod, with one bucket, and with or without TLS."""

import base64
import secrets
from dataclasses import dataclass
from typing import Any

from playground.certificates import server_certificate
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.tools import apply, get, images, kubectl

PORT = 7070
REGION = "us-east-1"
_USER = 65532
_TLS = "/tls"
_DATA = "/data"


@dataclass(frozen=True)
class KeyPair:
    """What signs a request, and who is told to have signed it."""

    access_key_id: str
    secret_access_key: str


def storage_secret(namespace: str, name: str, keys: KeyPair) -> dict[str, Any]:
    """The Secret that a storage of the chart names."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        },
    }


class S3Pod:
    """A server named `name` in `namespace`; what is in its bucket outlives `stop` and the pod.

    With `memory`, such as "64Mi", it outlives neither, and is full with that much.
    """

    def __init__(
        self,
        namespace: str,
        name: str = "s3",
        bucket: str = "exports",
        *,
        image: str = "S3_IMAGE",
        tls: bool = True,
        memory: str = "",
    ) -> None:
        self.namespace, self.name, self.bucket = namespace, name, bucket
        self.region = REGION
        self.keys_secret = f"{name}-keys"
        self._image, self._memory = image, memory
        # Holds the authority as ca.crt; empty without TLS.
        self.tls_secret = f"{name}-tls" if tls else ""

    @property
    def url(self) -> str:
        """Where pods reach it."""
        scheme = "https" if self.tls_secret else "http"
        return f"{scheme}://{self.name}.{self.namespace}.svc:{PORT}"

    @property
    def authority(self) -> str | None:
        """The PEM of the authority that a client has to trust."""
        return self._secret_value(self.tls_secret, "ca.crt") if self.tls_secret else None

    @property
    def owner(self) -> KeyPair:
        """Who may do all; in the Secret `keys_secret`, too, as are the user's."""
        return self._keys("owner")

    @property
    def user(self) -> KeyPair:
        """Who may do what the bucket's policy allows: nothing, until there is one."""
        return self._keys("user")

    def storage(self, secret: str, **changes: Any) -> dict[str, Any]:
        """The chart's `storages.NAME` for its bucket; `changes` of `s3` win."""
        settings = {
            "bucket": self.bucket,
            "endpoint": self.url,
            "region": self.region,
            "pathStyle": True,
        }
        storage = {"s3": settings | changes, "secretRef": {"name": secret}}
        authority = self.authority
        return storage | ({"caCertificates": authority} if authority else {})

    def start(self) -> None:
        """Create the server, or bring it back, and wait until it answers.

        Other pods reach its Service a moment later, when the nodes have heard of it.
        """
        for secret, make in (
            (self.tls_secret, self._certificate),
            (self.keys_secret, self._make_keys),
        ):
            if secret and not kubectl(
                "-n", self.namespace, "get", "secret", secret, "--ignore-not-found"
            ):
                apply(make())
        if not self._memory:
            apply(self._claim())
        apply(self._service(), self._deployment())
        kubectl(
            "-n", self.namespace, "rollout", "status", f"deployment/{self.name}",
            "--timeout=120s",
        )  # fmt: skip

    def stop(self) -> None:
        """Take the server away, so that connections are refused; `start` brings it back."""
        kubectl("-n", self.namespace, "scale", f"deployment/{self.name}", "--replicas=0")
        kubectl(
            "-n", self.namespace, "wait", "--for=delete", "pod",
            "-l", f"app.kubernetes.io/name={self.name}", "--timeout=60s",
        )  # fmt: skip

    def _keys(self, whose: str) -> KeyPair:
        return KeyPair(
            *(
                self._secret_value(self.keys_secret, f"{whose}_{key}")
                for key in ("access_key_id", "secret_access_key")
            )
        )

    def _secret_value(self, secret: str, key: str) -> str:
        data = get("-n", self.namespace, "secret", secret)["data"]
        return base64.b64decode(data[key]).decode()

    def _certificate(self) -> dict[str, Any]:
        short = f"{self.name}.{self.namespace}"
        hosts = [self.name, short, f"{short}.svc", f"{short}.svc.cluster.local"]
        made = server_certificate(hosts)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self._metadata(self.tls_secret),
            "type": "kubernetes.io/tls",
            "stringData": {
                "ca.crt": made.authority,
                "tls.crt": made.certificate,
                "tls.key": made.key,
            },
        }

    def _make_keys(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self._metadata(self.keys_secret),
            "stringData": {
                key: value
                for whose in ("owner", "user")
                for key, value in (
                    (f"{whose}_access_key_id", f"{whose}-{secrets.token_hex(6)}"),
                    (f"{whose}_secret_access_key", secrets.token_urlsafe(30)),
                )
            },
        }

    def _claim(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": self._metadata(self.name),
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }

    def _service(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._metadata(self.name),
            "spec": {
                "selector": {"app.kubernetes.io/name": self.name},
                "ports": [{"name": "s3", "port": PORT}],
            },
        }

    def _deployment(self) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": self.name}
        if self._memory:
            data: dict[str, Any] = {"emptyDir": {"medium": "Memory", "sizeLimit": self._memory}}
        else:
            data = {"persistentVolumeClaim": {"claimName": self.name}}
        volumes = [{"name": "data", **data}]
        if self.tls_secret:
            volumes.append({"name": "tls", "secret": {"secretName": self.tls_secret}})
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self._metadata(self.name),
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": 5,
                        "securityContext": {
                            **POD_SECURITY, "runAsUser": _USER, "runAsGroup": _USER,
                            "fsGroup": _USER,
                        },
                        "containers": [self._container()],
                        "volumes": volumes,
                    },
                },
            },
        }  # fmt: skip

    def _container(self) -> dict[str, Any]:
        arguments = [
            f"--listen=:{PORT}", f"--directory={_DATA}", f"--buckets={self.bucket}",
            f"--region={self.region}",
        ]  # fmt: skip
        mounts: list[dict[str, Any]] = [{"name": "data", "mountPath": _DATA}]
        if self.tls_secret:
            arguments += [f"--tls-cert={_TLS}/tls.crt", f"--tls-key={_TLS}/tls.key"]
            mounts.append({"name": "tls", "mountPath": _TLS, "readOnly": True})
        return {
            "name": "server",
            "image": images()[self._image],
            "args": arguments,
            "env": [
                {
                    "name": key.upper(),
                    "valueFrom": {"secretKeyRef": {"name": self.keys_secret, "key": key}},
                }
                for whose in ("owner", "user")
                for key in (f"{whose}_access_key_id", f"{whose}_secret_access_key")
            ],
            "ports": [{"containerPort": PORT}],
            "readinessProbe": {
                "httpGet": {
                    "path": "/readyz",
                    "port": PORT,
                    "scheme": "HTTPS" if self.tls_secret else "HTTP",
                },
                "periodSeconds": 1,
                "timeoutSeconds": 5,
            },
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": mounts,
        }

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self.namespace}
