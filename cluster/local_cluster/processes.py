"""Processes that outlive the shell, and stopping them without ever hitting a stranger.

A process id alone proves nothing: the kernel hands it out again. An id and its start time, within
one boot, name one process for good. Signals go through a pidfd that is opened before the check, so
the process checked is the process hit.
"""

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .layout import State

# Only what the programs need: a proxy or a language's settings from the user's shell must not
# reach a daemon that lives for days.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    # By default the API server spends up to 30 % of its processor time on collecting garbage.
    "GOGC": "300",
}
OUR_PROGRAMS = ("local-cluster-node", "containerd", "containerd-shim-runc-v2")


@dataclass(frozen=True)
class Process:
    """A process id, and the start time that makes it unique within one boot."""

    pid: int
    started: int


def boot_id() -> str:
    """Tell one boot of the machine from another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """In clock ticks since boot; None for a process that is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the program's name, may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def alive(process: Process) -> bool:
    """Whether this very process still runs."""
    return start_time(process.pid) == process.started


def start(argv: Sequence[str], log: Path) -> Process:
    """Start a program in a session of its own, its output in a log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=ENVIRONMENT,
            cwd="/",
        )
    return Process(child.pid, start_time(child.pid) or 0)


def stop(processes: Sequence[Process], grace_seconds: float) -> None:
    """Ask all to end, wait for them together, then end those that did not."""
    handles: list[int] = []
    try:
        for process in processes:
            try:
                handle = os.pidfd_open(process.pid)
            except OSError:
                continue
            if alive(process):
                handles.append(handle)
            else:
                os.close(handle)
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            if number is signal.SIGTERM and not grace_seconds:
                continue
            for handle in handles:
                try:
                    signal.pidfd_send_signal(handle, number)
                except ProcessLookupError:
                    continue
            if _all_ended(handles, seconds):
                return
    finally:
        for handle in handles:
            os.close(handle)


def _all_ended(handles: Sequence[int], seconds: float) -> bool:
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    left = len(handles)
    while left:
        ended = poll.poll(seconds * 1000)
        if not ended:
            return False
        for handle, _ in ended:
            poll.unregister(handle)
            left -= 1
    return True


def belongs_to_cluster(state_root: Path, program: str, argv: Sequence[str], mounts: str) -> bool:
    """Whether a process is ours: one of our programs working on our state, or in our container."""
    ours = f"{state_root}/"
    if program in OUR_PROGRAMS and any(ours in word for word in argv[1:]):
        return True
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[4] == "/":
            return f"upperdir={ours}" in line
    return False


def of_cluster(state: State) -> Iterator[Process]:
    """Every process of the cluster, containers too, recorded or left by an unclean stop."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            started = start_time(int(entry.name))
            program = (entry / "exe").readlink().name.removesuffix(" (deleted)")
            argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            mounts = (entry / "mountinfo").read_text(errors="replace")
        except OSError:
            continue
        if started is not None and belongs_to_cluster(state.root, program, argv, mounts):
            yield Process(int(entry.name), started)
