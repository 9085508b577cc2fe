"""The runner as a process of its own, on a bench's volume, killed where a test wants it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from runner_bench import Bench
from secret_files import mount

# TEST_KILL_AT=n: SIGKILL instead of the n-th call that changes the volume.
# TEST_SECONDS=n: a real server is asked, within that limit, and waited for TEST_ANSWER_SECONDS.
# TEST_REFUSED=call: it fails as on a read-only volume.  TEST_HANGS_AT=call: it never returns.
# TEST_STOP_SECONDS=n: so long it may take to clean up after SIGTERM, on a busy machine too.
PROGRAM = """
import errno, os, signal, sys, time
from pathlib import Path
from backupexport_runner import __main__ as runner
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.postgres import confined, preflight
from backupexport_runner.postgres.preflight import Server

def look(parameters):
    exec(os.environ.get("TEST_LOOK", ""))
    return Server(170006, "17.6", 1000)

steps = 0
kill_at = int(os.environ.get("TEST_KILL_AT", "0"))

def dangerous(call):
    def step(*arguments, **options):
        global steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return step

if kill_at:
    for name in ("open", "mkdir", "write", "fsync", "link", "rename", "unlink"):
        setattr(os, name, dangerous(getattr(os, name)))

root = Path(sys.argv[1])

def refuse(*arguments, **options):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))

def hang(*arguments, **options):
    (root / "hanging").touch()
    time.sleep(600)

for variable, replacement in (("TEST_REFUSED", refuse), ("TEST_HANGS_AT", hang)):
    if variable in os.environ:
        setattr(os, os.environ[variable], replacement)

configuration = Configuration(
    root / "exports", root / "scratch", root / "termination", root / "clients", root / "cgroup",
    root / "secret", root / "storage",
)
questions = runner.ServerQuestions(look, lambda parameters: None)
if "TEST_SECONDS" in os.environ:
    confined._SECONDS = float(os.environ["TEST_SECONDS"])
    preflight._ANSWER_SECONDS = float(os.environ["TEST_ANSWER_SECONDS"])
    questions = runner.confined_questions()
if "TEST_STOP_SECONDS" in os.environ:
    from backupexport_runner.bucket import s3_client, upload
    seconds = float(os.environ["TEST_STOP_SECONDS"])
    runner._SECONDS_TO_STOP = upload._HASTY_SECONDS = seconds
    s3_client._HASTY_TIMEOUT = s3_client.httpx.Timeout(seconds)
runner._exit(runner.run(dict(os.environ), configuration, questions))
"""

# How long a process that is told to stop may take: its pod is given as much.
GRACE_SECONDS = 30


def start(bench: Bench, values: dict[str, str], **options: Any) -> "subprocess.Popen[str]":
    environment = mount(values, bench.configuration.secret)
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(bench.root)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    return process


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
