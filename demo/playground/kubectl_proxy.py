"""Requests to the API server through one `kubectl proxy` for each process that asks.

Whoever we are, kubectl knows.  A `kubectl get` takes 71 ms of processor time and a `kubectl apply`
189 ms, here and in kubectl; this way each takes 1 ms.
"""

import atexit
import http.client
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import deque
from pathlib import Path

_STARTED = "Starting to serve on"


class KubectlProxy:
    """A `kubectl proxy` from the first request until this process ends.

    It listens on a socket that only this user can open: who reaches it has all that kubectl may.
    """

    def __init__(self, kubectl: Path, environment: dict[str, str]) -> None:
        self._command = [str(kubectl), "proxy"]
        self._environment = environment
        self._socket: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._starting = threading.Lock()
        self._idle: deque[_Connection] = deque()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> tuple[int, bytes]:
        """Status and body of the answer; OSError where there is none."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _Connection(self._serving())
        try:
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            told = answer.status, answer.read()
        except http.client.HTTPException as error:
            connection.close()
            raise ConnectionError(f"{method} {path} through kubectl proxy: {error!r}") from error
        except OSError:
            connection.close()
            raise
        self._idle.append(connection)
        return told

    def stop(self) -> None:
        """End it, as this process does at its end."""
        while self._idle:
            self._idle.pop().close()
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = self._socket = None

    def _serving(self) -> Path:
        with self._starting:
            if self._socket is None:
                self._socket = self._start()
            return self._socket

    def _start(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="kubectl-proxy-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        # Its output stays open until it ends, for what kubectl might print later.
        self._process = process = subprocess.Popen(
            [*self._command, f"--unix-socket={folder / 'socket'}"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        atexit.register(self.stop)
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith(_STARTED):
            raise ConnectionError(f"kubectl proxy said {line!r} instead of its socket")
        return folder / "socket"


class _Connection(http.client.HTTPConnection):
    """HTTP/1.1 with keep-alive over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
