"""A port of 127.0.0.1 that leads into the cluster for as long as a context lasts.

A `kubectl port-forward` ends with a connection that breaks, and where somebody else has got the
port: then the next one is started.
"""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playground.forward import free_port
from playground.tools import STATE, environment

_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 1.0


@contextmanager
def kept_forward(namespace: str, what: str, remote: int) -> Iterator[int]:
    """The port that leads to `remote` of `what`, such as pod/NAME or service/NAME."""
    port, is_over = free_port(), threading.Event()
    command = [
        str(STATE / "bin" / "kubectl"), "-n", namespace, "port-forward", "--address=127.0.0.1",
        what, f"{port}:{remote}",
    ]  # fmt: skip
    thread = threading.Thread(target=_keep, args=(command, is_over), daemon=True)
    thread.start()
    try:
        yield port
    finally:
        is_over.set()
        thread.join()


def _keep(command: list[str], is_over: threading.Event) -> None:
    while not is_over.is_set():
        with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not is_over.wait(_LOOK_SECONDS):
                pass
            process.terminate()
        is_over.wait(_AGAIN_SECONDS)
