"""A PostgreSQL server in a pod, and what is done to its databases with psql inside it."""

import secrets
import subprocess
from pathlib import Path
from typing import Any

from playground.tools import STATE, ToolError, apply, environment, images, kubectl

POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# Durability is of no use to a server whose data go with its pod, and a volume needs none to
# outlive the killed processes of a machine that runs on.
_FAST = ("fsync=off", "full_page_writes=off", "max_wal_size=8GB", "shared_buffers=512MB")
_DATA = "/var/lib/postgresql/data"
_CLAIM: dict[str, Any] = {
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "5Gi"}},
    },
}


class Postgres:
    """A server named `name` in `namespace`; its pod is `<name>-0`.

    With `persistent` its data are on a volume and outlive the pod; `image` is the variable that
    `make images` publishes its image under; `settings` are parameters beside `_FAST`.
    """

    def __init__(
        self,
        namespace: str,
        name: str = "postgres",
        *,
        image: str = "POSTGRES_IMAGE",
        persistent: bool = False,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.image = image
        self.persistent = persistent
        self.settings = settings
        self.pod = f"{name}-0"

    @property
    def host(self) -> str:
        """The server's name in the cluster's DNS."""
        return f"{self.name}.{self.namespace}.svc"

    def start(self) -> None:
        """Create the server and wait until it answers; harmless where it is there already."""
        secret = f"{self.name}-superuser"
        if not kubectl("-n", self.namespace, "get", "secret", secret, "--ignore-not-found"):
            apply(self._secret(secret))
        apply(self._service(), self._stateful_set(secret))
        kubectl(
            "-n", self.namespace, "rollout", "status", f"statefulset/{self.name}",
            "--timeout=280s",
        )  # fmt: skip

    def stop(self) -> None:
        """Scale to nothing and wait until the pod is gone."""
        self._scale(0)
        kubectl("-n", self.namespace, "wait", "--for=delete", f"pod/{self.pod}", "--timeout=240s")

    def psql(
        self, sql: str, database: str = "postgres", *options: str, timeout: float = 600
    ) -> str:
        """What psql prints for `sql`, unaligned and without headers."""
        return kubectl(
            "-n", self.namespace, "exec", "-i", self.pod, "--",
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options, "-d", database,
            stdin=sql, timeout=timeout,
        ).strip()  # fmt: skip

    def make_empty(self, database: str) -> None:
        """A new database of this name, in place of one that is there."""
        self.psql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        self.psql(f'CREATE DATABASE "{database}" TEMPLATE template0')

    def psql_file(self, file: Path, database: str, *options: str) -> None:
        """Run a file of SQL; it is streamed, so it may be large."""
        command = [
            str(STATE / "bin" / "kubectl"), "-n", self.namespace, "exec", "-i", self.pod, "--",
            "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *options, "-d", database,
        ]  # fmt: skip
        with file.open("rb") as stream:
            done = subprocess.run(
                command,
                stdin=stream,
                capture_output=True,
                text=True,
                env=environment(),
                check=False,
            )
        if done.returncode != 0:
            raise ToolError(f"{file.name}: {done.stderr.strip()}")

    def exec_prefix(self) -> list[str]:
        """What to put before a command so that it runs beside the server, as its superuser."""
        return [
            str(STATE / "bin" / "kubectl"), f"--kubeconfig={STATE / 'kubeconfig'}",
            "-n", self.namespace, "exec", "-i", self.pod, "--",
        ]  # fmt: skip

    def _scale(self, replicas: int) -> None:
        kubectl("-n", self.namespace, "scale", f"statefulset/{self.name}", f"--replicas={replicas}")

    def _secret(self, name: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
            "stringData": {"password": secrets.token_urlsafe(24)},
        }

    def _service(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "selector": {"app.kubernetes.io/name": self.name},
                "ports": [{"port": 5432}],
            },
        }

    def _stateful_set(self, secret: str) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": self.name}
        arguments = ["postgres"]
        for option in (*_FAST, *self.settings):
            arguments += ["-c", option]
        container = {
            "name": "postgres",
            "image": images()[self.image],
            "args": arguments,
            "env": [
                {
                    "name": "POSTGRES_PASSWORD",
                    "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}},
                },
                {"name": "PGUSER", "value": "postgres"},
            ],
            "ports": [{"containerPort": 5432}],
            "startupProbe": {
                "exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1"]},
                "periodSeconds": 1,
                "failureThreshold": 280,
            },
            # No process in the container for each look, once it has answered.
            "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [
                {"name": "data", "mountPath": _DATA},
                {"name": "run", "mountPath": "/var/run/postgresql"},
                {"name": "shm", "mountPath": "/dev/shm"},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }
        if self.persistent:
            # A pod that is deleted by force may still run when the next one starts, and
            # PostgreSQL's own guard doesn't see beyond its container.
            container["command"] = [
                "flock", "--no-fork", f"{_DATA}/in-use", "postgres-entrypoint",
            ]  # fmt: skip
        memory = {"medium": "Memory", "sizeLimit": "1Gi"}
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "replicas": 1,
                "serviceName": self.name,
                "selector": {"matchLabels": labels},
                **({"volumeClaimTemplates": [_CLAIM]} if self.persistent else {}),
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "automountServiceAccountToken": False,
                        "terminationGracePeriodSeconds": 10,
                        "securityContext": {
                            **POD_SECURITY, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999,
                            # PostgreSQL refuses a directory that its group may write to.
                            "fsGroupChangePolicy": "OnRootMismatch",
                        },
                        "containers": [container],
                        "volumes": [
                            *([] if self.persistent else [{"name": "data", "emptyDir": {}}]),
                            {"name": "run", "emptyDir": {}},
                            {"name": "shm", "emptyDir": memory},
                            {"name": "tmp", "emptyDir": {}},
                        ],
                    },
                },
            },
        }  # fmt: skip
