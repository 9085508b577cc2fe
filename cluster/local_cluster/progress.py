"""Shows what is going on: one line a step, a sign of life in long ones, a log's end on failure."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .errors import ClusterError

HEARTBEAT_SECONDS = 15
TAIL_LINES = 25

_started = time.monotonic()
_printing = threading.Lock()


def say(message: str) -> None:
    """Print one line with the seconds since the start."""
    with _printing:
        print(f"[{time.monotonic() - _started:4.0f}s] {message}", flush=True)


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines with something on them."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-count:]


def failure(title: str, log: Path) -> ClusterError:
    """Make an error of a log's end."""
    tail = "\n".join(f"    {line}" for line in last_lines(log, TAIL_LINES))
    return ClusterError(f"{title}: failed.\n{tail}\n  The whole log: {log}")


def run(
    title: str,
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run one step, its output into `log`."""
    say(f"{title} …")
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        try:
            while True:
                try:
                    code = process.wait(HEARTBEAT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    latest = "".join(last_lines(log, 1))[:100]
                    say(f"  … {title}: {time.monotonic() - began:.0f} s so far. {latest}".rstrip())
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code != 0:
        raise failure(title, log)


def quiet(argv: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a short command whose outcome the caller judges."""
    return subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def side_by_side(*tasks: Callable[[], None]) -> None:
    """Run tasks at the same time; raise the first failure after all have ended."""
    failures: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - carried over to the calling thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def wait_until(
    title: str, condition: Callable[[], bool], seconds: float, *, log: Path | None = None
) -> None:
    """Poll until a condition holds."""
    began = time.monotonic()
    heartbeat = HEARTBEAT_SECONDS
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds:
            if log:
                raise failure(f"{title} (waited {seconds:.0f} s)", log)
            raise ClusterError(f"{title}: not within {seconds:.0f} s.")
        if waited > heartbeat:
            heartbeat += HEARTBEAT_SECONDS
            say(f"  … {title}: {waited:.0f} s so far")
        time.sleep(0.1)
