"""A PostgreSQL server of each major in one pod, and a pod of the runner's image with its clients.

The second one sees the exports' volume: what is typed there is typed beside the files.
"""

import re
import secrets
from typing import Any

from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.tools import apply, images, kubectl

MAJORS = (13, 14, 15, 16, 17, 18)

_RUNNERS_USER = 65532
_CLIENTS = "/usr/lib/postgresql"
_NEWEST_CLIENT = 18


class Majors:
    """The servers `majors` in the pod `name`, and the pod `<name>-clients`."""

    def __init__(
        self, namespace: str, claim: str, name: str, majors: tuple[int, ...] = MAJORS
    ) -> None:
        self._namespace = namespace
        self._claim = claim
        self._name = name
        self._majors = majors
        self.host = f"{name}.{namespace}.svc"

    def start(self) -> None:
        """Make both pods, and wait until all servers answer."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self._metadata(self._name),
            "stringData": {"password": secrets.token_urlsafe(24)},
        }
        apply(secret, self._service(), self._servers(), self._clients())
        for pod in (self._name, f"{self._name}-clients"):
            kubectl(
                "-n", self._namespace, "wait", "--for=condition=Ready", f"pod/{pod}",
                "--timeout=300s",
            )  # fmt: skip
        waits = (
            f"until psql -p {port(major)} -qc '' 2>/dev/null; do sleep 0.2; done"
            for major in self._majors
        )
        self.type("\n".join(waits), _NEWEST_CLIENT)

    def stop(self) -> None:
        """Remove them."""
        kubectl(
            "-n", self._namespace, "delete", "pod", self._name, f"{self._name}-clients",
            "--wait=false",
        )  # fmt: skip

    def psql(self, major: int, sql: str, database: str = "postgres", *options: str) -> str:
        """What psql prints for `sql` as the superuser, unaligned and without headers."""
        return self._exec(
            f"{_CLIENTS}/{_NEWEST_CLIENT}/bin/psql", "-X", "-q", "-A", "-t", "-v",
            "ON_ERROR_STOP=1", "-p", str(port(major)), *options, "-d", database, stdin=sql,
        ).strip()  # fmt: skip

    def type(self, script: str, clients: int, *words: str) -> str:
        """What bash prints for a script, whose clients are of the major `clients`."""
        path = f"export PATH={_CLIENTS}/{clients}/bin:$PATH\n"
        return self._exec("bash", "-c", path + script, "bash", *words)

    def _exec(self, *command: str, stdin: str = "") -> str:
        return kubectl(
            "-n", self._namespace, "exec", "-i", f"{self._name}-clients", "--", *command,
            stdin=stdin, timeout=300,
        )  # fmt: skip

    def _metadata(self, name: str) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": name}
        return {"name": name, "namespace": self._namespace, "labels": labels}

    def _service(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._metadata(self._name),
            "spec": {
                "selector": {"app.kubernetes.io/name": self._name},
                "ports": [{"name": f"major-{m}", "port": port(m)} for m in self._majors],
            },
        }

    def _servers(self) -> dict[str, Any]:
        container = {
            "name": "servers",
            "image": images()["POSTGRES_MAJORS_IMAGE"],
            "args": [str(major) for major in self._majors],
            "env": [_password("POSTGRES_PASSWORD", self._name)],
            "startupProbe": {
                "tcpSocket": {"port": port(self._majors[-1])},
                "periodSeconds": 1,
                "failureThreshold": 120,
            },
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [
                {"name": "data", "mountPath": "/var/lib/postgresql/data"},
                {"name": "tmp", "mountPath": "/tmp"},
                {"name": "shm", "mountPath": "/dev/shm"},
            ],
        }
        memory = {"medium": "Memory", "sizeLimit": "512Mi"}
        volumes = [
            {"name": "data", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": memory},
        ]
        return self._pod(self._name, 999, container, volumes)

    def _clients(self) -> dict[str, Any]:
        container = {
            "name": "clients",
            "image": images()["RUNNER_IMAGE"],
            "command": ["sleep", "infinity"],
            "workingDir": "/exports",
            "env": [
                {"name": "PGHOST", "value": self.host},
                {"name": "PGUSER", "value": "postgres"},
                {"name": "PGDATABASE", "value": "postgres"},
                _password("PGPASSWORD", self._name),
            ],
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [
                {"name": "exports", "mountPath": "/exports", "readOnly": True},
                {"name": "scratch", "mountPath": "/scratch"},
            ],
        }
        volumes = [
            {"name": "exports", "persistentVolumeClaim": {"claimName": self._claim}},
            {"name": "scratch", "emptyDir": {}},
        ]
        return self._pod(f"{self._name}-clients", _RUNNERS_USER, container, volumes)

    def _pod(
        self, name: str, user: int, container: dict[str, Any], volumes: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._metadata(name),
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    **POD_SECURITY, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
                },
                "containers": [container],
                "volumes": volumes,
            },
        }  # fmt: skip


def port(major: int) -> int:
    """Where the server of a major listens."""
    return 54300 + major


def named_clients(artifact: dict[str, Any]) -> int:
    """The major of the clients that an export's `restoreWith` names.

    Of a plain dump it names a psql of several majors; then it is that of the dump.
    """
    archive = re.match(r"pg_restore (\d+) or newer", artifact["restoreWith"])
    return int(archive[1] if archive else artifact["dumpVersion"].partition(".")[0])


def _password(variable: str, secret: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}}
