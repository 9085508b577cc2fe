"""What the servers in pods have in common: a Service, a Deployment, a claim, and Secrets."""

import base64
from collections.abc import Callable
from typing import Any

from playground.certificates import server_certificate
from playground.postgres import POD_SECURITY
from playground.tools import apply, get, kubectl

_USER = 65532


class ServerPod:
    """A server named `name` in `namespace`; `tls_secret` is empty for one without TLS."""

    def __init__(self, namespace: str, name: str, tls_secret: str) -> None:
        self.namespace, self.name = namespace, name
        # Holds the authority as ca.crt.
        self.tls_secret = tls_secret

    @property
    def host(self) -> str:
        """The server's name in the cluster's DNS, and in its certificate."""
        return f"{self.name}.{self.namespace}.svc"

    def stop(self) -> None:
        """Take the server away, so that connections are refused; `start` brings it back."""
        kubectl("-n", self.namespace, "scale", f"deployment/{self.name}", "--replicas=0")
        self._wait_until_gone()

    def _wait_until_gone(self) -> None:
        kubectl(
            "-n", self.namespace, "wait", "--for=delete", "pod",
            "-l", f"app.kubernetes.io/name={self.name}", "--timeout=240s",
        )  # fmt: skip

    def _start(self, secrets: dict[str, Callable[[], Any]], *manifests: dict[str, Any]) -> None:
        """Make those of the Secrets that are missing, then the rest; wait until it answers."""
        if self.tls_secret:
            secrets = {self.tls_secret: self._certificate, **secrets}
        for secret, make in secrets.items():
            if not kubectl("-n", self.namespace, "get", "secret", secret, "--ignore-not-found"):
                apply(make())
        apply(*manifests)
        kubectl(
            "-n", self.namespace, "rollout", "status", f"deployment/{self.name}",
            "--timeout=280s",
        )  # fmt: skip

    def _secret_value(self, secret: str, key: str) -> str:
        data = get("-n", self.namespace, "secret", secret)["data"]
        return base64.b64decode(data[key]).decode()

    def _certificate(self) -> dict[str, Any]:
        short = f"{self.name}.{self.namespace}"
        made = server_certificate([self.name, short, self.host, f"{self.host}.cluster.local"])
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

    def _claim(self, size: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": self._metadata(self.name),
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}},
            },
        }

    def _service(self, ports: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._metadata(self.name),
            "spec": {"selector": {"app.kubernetes.io/name": self.name}, "ports": ports},
        }

    def _deployment(
        self, containers: list[dict[str, Any]], volumes: list[dict[str, Any]]
    ) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": self.name}
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
                        "containers": containers,
                        "volumes": volumes,
                    },
                },
            },
        }  # fmt: skip

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self.namespace}
