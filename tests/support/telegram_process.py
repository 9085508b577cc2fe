"""Deliveries to Telegram in processes of their own, killed at any step.

One process imports the runner once and makes a child for each attempt, so that an attempt costs
milliseconds.  A step is a call that changes the volume or moves bytes on the network.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from secret_files import mount

PROGRAM = """
import json, os, signal, ssl, sys
from pathlib import Path
from httpcore._backends import sync as network
from backupexport_runner import __main__ as runner
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.delivery.kinds.telegram import sending

sending.PAUSES = (0.01,)
# Reading the system's certificates takes longer than all of an attempt.
context = ssl.create_default_context()
ssl.create_default_context = lambda **options: context

def attempt(root, values, kill_at):
    steps = 0

    def dangerous(call):
        def step(*arguments, **options):
            nonlocal steps
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return step

    for name in ("open", "write", "fsync", "rename", "unlink"):
        setattr(os, name, dangerous(getattr(os, name)))
    for name in ("read", "write"):
        setattr(network.SyncStream, name, dangerous(getattr(network.SyncStream, name)))
    network.SyncBackend.connect_tcp = dangerous(network.SyncBackend.connect_tcp)
    configuration = Configuration(
        root / "exports", root / "scratch", root / "termination", root / "clients", root / "cgroup",
        root / "secret",
    )
    questions = runner.confined_questions()
    runner._exit(runner.run(values, configuration, questions))

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        out = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        attempt(Path(order["root"]), order["values"], order["kill_at"])
    print(child, flush=True)
    _, status, usage = os.wait4(child, 0)
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, flush=True)
"""


class Attempts:
    """Makes attempts, one at a time; what they write is in `output`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.output = root / "output"
        self.peak_kilobytes = 0
        self.pid = 0

    def __enter__(self) -> Self:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate(timeout=60)

    def run(self, values: dict[str, str], kill_at: int = 0) -> int:
        """The exit code of an attempt, negative where a signal ended it."""
        self.begin(values, kill_at)
        return self.end()

    def begin(self, values: dict[str, str], kill_at: int = 0) -> None:
        """Start an attempt; `pid` is its process."""
        order: dict[str, Any] = {
            "root": str(self.root),
            "values": mount(values, self.root / "secret"),
            "kill_at": kill_at,
            "output": str(self.output),
        }
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        self.pid = int(self._line())

    def end(self) -> int:
        """Wait for the attempt."""
        exit_code, self.peak_kilobytes = map(int, self._line().split())
        return exit_code

    def _line(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline()
