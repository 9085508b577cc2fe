"""A pod that sees the exports' volume, to check and restore what lies there."""

import subprocess
from pathlib import Path
from typing import Any, BinaryIO

from playground.postgres import CONTAINER_SECURITY, POD_SECURITY, Postgres
from playground.tools import STATE, ToolError, apply, environment, images, kubectl

_RUNNERS_USER = 65532
_MOUNT = "/exports"

# What the README tells a person to type, as one pipeline that fails where any part of it does, but
# for the first look at the file's end, for which standard input can't be read twice.
# It reads standard input; its arguments are the file's name and the database.
_UNPACK = """
case "$1" in
    *.zst) zstd -q -d -c ;;
    *.gz) gzip -d -c ;;
    *) cat ;;
esac
"""
_RESTORE_SQL = (
    f"set -e -o pipefail; ({_UNPACK}) | psql -X -q -o /dev/null --single-transaction "
    '-v ON_ERROR_STOP=1 -d "$2"'
)
# pg_restore wants to seek in a tar archive.
_RESTORE_TAR = (
    f"set -e -o pipefail; trap 'rm -f /scratch/archive' EXIT; ({_UNPACK}) > /scratch/archive; "
    'pg_restore --single-transaction -d "$2" /scratch/archive'
)
_FROM_THE_VOLUME = 'exec < "$1"; '


class ExportsVolume:
    """The volume behind claim `claim`, read from a pod of its own beside the exports' Jobs."""

    def __init__(
        self, namespace: str, claim: str, server: Postgres, pod: str = "exports-reader"
    ) -> None:
        self._namespace = namespace
        self._claim = claim
        self._server = server
        self._pod = pod

    def open(self) -> None:
        """Start the pod; harmless where it runs already."""
        apply(self._manifest())
        kubectl(
            "-n", self._namespace, "wait", "--for=condition=Ready", f"pod/{self._pod}",
            "--timeout=280s",
        )  # fmt: skip

    def close(self) -> None:
        """Remove the pod."""
        kubectl("-n", self._namespace, "delete", "pod", self._pod, "--wait=false")

    def run(self, *command: str, stdin: str | None = None, timeout: float = 600) -> str:
        """What a command prints there; artifacts lie below the working directory."""
        return kubectl(
            "-n", self._namespace, "exec", "-i", self._pod, "--", *command,
            stdin=stdin, timeout=timeout,
        )  # fmt: skip

    def files(self, project_id: str) -> list[str]:
        """All files of a project, hidden ones too, relative to the volume's root."""
        found = self.run("find", f"./{project_id}", "-type", "f")
        return sorted(line.removeprefix("./") for line in found.splitlines())

    def sha256(self, path: str) -> str:
        """The SHA-256 of a file, in hexadecimal."""
        return self.run("sha256sum", "--", path).split()[0].lstrip("\\")

    def size(self, path: str) -> int:
        """A file's size in bytes."""
        return int(self.run("stat", "-c", "%s", "--", path))

    def text(self, path: str) -> str:
        """A small text file."""
        return self.run("cat", "--", path)

    def copy(self, path: str, target: Path) -> None:
        """Copy a file of any size to this machine."""
        with target.open("wb") as file:
            self._stream("cat", "--", path, stdout=file)

    def restore(self, path: str, database: str) -> None:
        """Restore an artifact into a new, empty database of the server."""
        self._server.make_empty(database)
        self.run("bash", "-c", _FROM_THE_VOLUME + _script(path), "restore", path, database)

    def restore_copy(self, file: Path, database: str) -> None:
        """Restore a file of this machine, with an artifact's name, instead of the volume's."""
        self._server.make_empty(database)
        with file.open("rb") as stream:
            self._stream(
                "bash", "-c", _script(file.name), "restore", file.name, database, stdin=stream
            )

    def _stream(
        self, *command: str, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None
    ) -> None:
        """Run a command there whose input or output is too large for memory."""
        kubectl_exec = [str(STATE / "bin" / "kubectl"), "-n", self._namespace, "exec", "-i"]
        done = subprocess.run(
            [*kubectl_exec, self._pod, "--", *command],
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
        if done.returncode != 0:
            raise ToolError(f"{' '.join(command)}\n{done.stderr.decode().strip()}")

    def _manifest(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self._pod, "namespace": self._namespace},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    **POD_SECURITY,
                    "runAsUser": _RUNNERS_USER,
                    "runAsGroup": _RUNNERS_USER,
                    "fsGroup": _RUNNERS_USER,
                },
                "containers": [
                    {
                        "name": "reader",
                        # The server's own, for a psql and a pg_restore of its version.
                        "image": images()[self._server.image],
                        "command": ["sleep", "infinity"],
                        "workingDir": _MOUNT,
                        "env": [
                            {"name": "PGHOST", "value": self._server.host},
                            {"name": "PGUSER", "value": "postgres"},
                            {
                                "name": "PGPASSWORD",
                                "valueFrom": {
                                    "secretKeyRef": {
                                        "name": f"{self._server.name}-superuser",
                                        "key": "password",
                                    }
                                },
                            },
                        ],
                        "securityContext": CONTAINER_SECURITY,
                        "volumeMounts": [
                            {"name": "exports", "mountPath": _MOUNT, "readOnly": True},
                            {"name": "scratch", "mountPath": "/scratch"},
                        ],
                    }
                ],
                "volumes": [
                    {
                        "name": "exports",
                        "persistentVolumeClaim": {"claimName": self._claim},
                    },
                    {"name": "scratch", "emptyDir": {}},
                ],
            },
        }


def _script(path: str) -> str:
    return _RESTORE_TAR if ".tar" in path else _RESTORE_SQL
