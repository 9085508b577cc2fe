"""Servers as processes of the machine, each on a processor of its own."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playground.tools import ROOT, ToolError, environment, wait_for

# The bench needs what its servers need, and runs them with its own interpreter.
_PYTHONPATH = os.pathsep.join(str(ROOT / folder) for folder in ("api", "crds", "bench", "demo"))


def processors() -> tuple[int, int]:
    """One processor for whoever is measured and one for whoever measures."""
    ours = sorted(os.sched_getaffinity(0))
    return ours[0], ours[-1]


@contextmanager
def pinned(processor: int) -> Iterator[None]:
    """Keep to one processor, with all processes that are started meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    *command: str, settings: dict[str, str], log: Path, processor: int
) -> Iterator[subprocess.Popen[str]]:
    """A Python program, stopped at the end; its standard error is the log, as it would be."""
    inherited = {
        name: value
        for name, value in environment().items()
        # Whoever runs this may have settings of their own.
        if not name.startswith(("BACKUPEXPORT_", "KUBERNETES_SERVICE_"))
    }
    with log.open("w", encoding="utf-8") as file, pinned(processor):
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**inherited, "PYTHONPATH": _PYTHONPATH, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def wait_until_served(process: subprocess.Popen[str], url: str, log: Path) -> None:
    """Wait for a 200 of `url`; ToolError with the end of the log when the process ends before."""

    def look() -> bool:
        if process.poll() is not None:
            raise ToolError(f"{process.args!r} has ended:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    wait_for(look, f"an answer from {url}", 60)


def memory(pid: int) -> tuple[float, float]:
    """MiB that a process has in memory, now and at most so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024
