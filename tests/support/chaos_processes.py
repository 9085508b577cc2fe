"""The process inside a pod's container, as the machine below sees it."""

import os
import signal
from pathlib import Path


def is_container_of(pod_uid: str, cgroup: str, status: str, program: str) -> bool:
    """Whether a process is the first of a container of the pod, and not of its sandbox.

    `cgroup` and `status` are the files of that name in its folder of /proc.
    """
    in_pod = any(f"/pod{pod_uid}/" in line for line in cgroup.splitlines())
    inner = next((line.split() for line in status.splitlines() if line.startswith("NSpid:")), [])
    # The machine's own first process has no second number.
    return in_pod and len(inner) > 2 and inner[-1] == "1" and program != "pause"


def kill_inside(
    pod_uid: str, proc: Path = Path("/proc"), number: signal.Signals = signal.SIGKILL
) -> list[int]:
    """A signal to the first process of each container of the pod; the ids of those hit."""
    return [
        int(entry.name)
        for entry in proc.iterdir()
        if entry.name.isdigit() and _matches(entry, pod_uid) and _kill(entry, pod_uid, number)
    ]


def _matches(entry: Path, pod_uid: str) -> bool:
    try:
        return is_container_of(
            pod_uid,
            (entry / "cgroup").read_text(),
            (entry / "status").read_text(),
            (entry / "exe").readlink().name,
        )
    except OSError:
        return False


def _kill(entry: Path, pod_uid: str, number: signal.Signals) -> bool:
    try:
        handle = os.pidfd_open(int(entry.name))
    except ProcessLookupError:
        return False
    try:
        # Looked at again with the handle open: the process checked is the process hit.
        if not _matches(entry, pod_uid):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
