"""Programs of the project as processes of this machine, outside of any pod."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playground.tools import ROOT, ToolError, environment, wait_for

_PYTHONPATH = os.pathsep.join(str(ROOT / folder) for folder in ("api", "crds", "bench", "demo"))


@contextmanager
def running(
    *command: str, settings: dict[str, str], log: Path, is_asked: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A Python program until the end of the context; what it writes goes to `log`.

    One that `is_asked` has its standard input and output as pipes; nobody else reads them, and a
    program that writes into a full pipe stands still.  It runs with the interpreter of whoever
    starts it.
    """
    inherited = {
        name: value
        for name, value in environment().items()
        # Whoever runs this may have settings of their own.
        if not name.startswith(("BACKUPEXPORT_", "KUBERNETES_SERVICE_"))
    }
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={
                **inherited,
                "PYTHONPATH": _PYTHONPATH,
                # A crash of native code says where.
                "PYTHONFAULTHANDLER": "1",
                # There is no other replica that a client could go to.
                "BACKUPEXPORT_DRAIN_SECONDS": "0",
                **settings,
            },
            stdin=subprocess.PIPE if is_asked else subprocess.DEVNULL,
            stdout=subprocess.PIPE if is_asked else file,
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
            end = f"has ended with status {process.returncode}"
            raise ToolError(f"{process.args!r} {end}:\n{log.read_text()[-4000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    wait_for(look, f"an answer from {url}", 180)
