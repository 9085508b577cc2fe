"""An S3 server (cluster/s3) in a pod, with one bucket, and with or without TLS."""

import secrets
from dataclasses import dataclass
from typing import Any

from playground.postgres import CONTAINER_SECURITY
from playground.server_pod import ServerPod
from playground.tools import images

PORT = 7070
REGION = "us-east-1"
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


class S3Pod(ServerPod):
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
        super().__init__(namespace, name, f"{name}-tls" if tls else "")
        self.bucket = bucket
        self.region = REGION
        self.keys_secret = f"{name}-keys"
        self._image, self._memory = image, memory

    @property
    def url(self) -> str:
        """Where pods reach it."""
        scheme = "https" if self.tls_secret else "http"
        return f"{scheme}://{self.host}:{PORT}"

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
        claim = [] if self._memory else [self._claim("1Gi")]
        service = self._service([{"name": "s3", "port": PORT}])
        deployment = self._deployment([self._container()], self._volumes())
        self._start({self.keys_secret: self._make_keys}, *claim, service, deployment)

    def _keys(self, whose: str) -> KeyPair:
        return KeyPair(
            *(
                self._secret_value(self.keys_secret, f"{whose}_{key}")
                for key in ("access_key_id", "secret_access_key")
            )
        )

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

    def _volumes(self) -> list[dict[str, Any]]:
        if self._memory:
            data: dict[str, Any] = {"emptyDir": {"medium": "Memory", "sizeLimit": self._memory}}
        else:
            data = {"persistentVolumeClaim": {"claimName": self.name}}
        volumes = [{"name": "data", **data}]
        if self.tls_secret:
            volumes.append({"name": "tls", "secret": {"secretName": self.tls_secret}})
        return volumes

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
