"""Ports of Services on 127.0.0.1, by kubectl port-forward.

`python3 -m playground.forward NAMESPACE SERVICE PORT REMOTE` goes on for ever, through restarts of
the pods, until it is stopped or the cluster has been away for a minute.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playground.tools import (
    ROOT,
    STATE,
    NeverHappenedError,
    ToolError,
    environment,
    kubectl,
    wait_for,
)

_PID_FILE = STATE / "forward.pid"
_GIVE_UP_SECONDS = 60


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@contextmanager
def forwarded(namespace: str, service: str) -> Iterator[str]:
    """The URL of the API's Service for as long as the context lasts."""
    port = free_port()
    process = _start(namespace, service, port)
    try:
        yield _answering(port)
    finally:
        _stop(process.pid)
        process.wait()


def ports_to_leave_forwarded(*preferred: int) -> list[int]:
    """Ports for `leave_forwarded`, whose earlier ones it ends: these where they are free."""
    if _stop_left_forwarded():
        with contextlib.suppress(NeverHappenedError):
            wait_for(lambda: not any(map(_is_taken, preferred)), f"ports {preferred} to be free", 5)
    # By another program, or by another clone: its forward may lead elsewhere.
    return [free_port() if _is_taken(port) else port for port in preferred]


def leave_forwarded(namespace: str, service: str, port: int, remote: str = "http") -> str:
    """The URL of a Service's port `remote`, still there when this process has ended.

    What is behind it answers /readyz.
    """
    process = _start(namespace, service, port, remote)
    with _PID_FILE.open("a", encoding="utf-8") as file:
        file.write(f"{process.pid} {_started(process.pid)}\n")
    return _answering(port)


def _stop_left_forwarded() -> bool:
    """Stop what `leave_forwarded` left, and only that; whether there was something."""
    try:
        left = [line.split() for line in _PID_FILE.read_text(encoding="utf-8").splitlines()]
        _PID_FILE.unlink()
    except FileNotFoundError:
        return False
    running = [int(pid) for pid, started in left if _is_running(int(pid), started)]
    for pid in running:
        _stop(pid)
    return bool(running)


def _start(
    namespace: str, service: str, port: int, remote: str = "http"
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "playground.forward", namespace, service, str(port), remote],
        env={**os.environ, "PYTHONPATH": str(ROOT / "demo")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _answering(port: int) -> str:
    url = f"http://127.0.0.1:{port}"

    def look() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=10):
                return True
        except (urllib.error.URLError, OSError):
            return False

    wait_for(look, f"an answer from {url}/readyz", 180)
    return url


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot: with its id, a name for it."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[19]


def _is_running(pid: int, started: str) -> bool:
    try:
        return _started(pid) == started
    except FileNotFoundError:
        return False


def _stop(pid: int) -> None:
    # The session's own group: kubectl is in it too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)


def main() -> int:
    """Forward until the cluster is gone."""
    namespace, service, port, remote = sys.argv[1:5]
    away_since: float | None = None
    while away_since is None or time.monotonic() - away_since < _GIVE_UP_SECONDS:
        command = [str(STATE / "bin" / "kubectl"), "-n", namespace, "port-forward"]
        command += ["--address=127.0.0.1", f"service/{service}", f"{port}:{remote}"]
        subprocess.run(command, env=environment(), check=False)
        try:
            kubectl("get", "--raw", "/readyz", timeout=10)
            away_since = None
        except (ToolError, subprocess.TimeoutExpired):
            away_since = away_since or time.monotonic()
        time.sleep(0.5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
