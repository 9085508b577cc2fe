"""A program of its own: runs kubectl port-forward until its standard input ends.

Whoever started it may end in any way, killed too: the pipe ends with it, and so does kubectl.  A
kubectl that ends before that, as it does when its pod goes, is started again on the same port.

Arguments: the command with `:REMOTE` at its end.  It writes `port PORT` as soon as it forwards, and
what kubectl says on stderr; it ends where the first kubectl never forwards.  It is run by its path,
so it imports nothing of this package.
"""

import contextlib
import os
import re
import subprocess
import sys
import threading

_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ->")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
_GRACE_SECONDS = 2.0


class _Forwarder:
    def __init__(self, command: list[str]) -> None:
        *self._command, self._remote = command
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Return kubectl's exit code where it never forwarded, else 0."""
        threading.Thread(target=self._wait_for_the_end, daemon=True).start()
        port, pause = "", _FIRST_PAUSE
        while not self._is_over.is_set():
            found, code = self._forward(port)
            if not port and not found:
                return code or 1
            port, pause = port or found, _FIRST_PAUSE if found else min(pause * 2, _LONGEST_PAUSE)
            self._is_over.wait(pause)
        return 0

    def _forward(self, port: str) -> tuple[str, int]:
        """Run kubectl to its end; return the port that it forwarded, "" for none, and its code."""
        with self._lock:
            if self._is_over.is_set():
                return "", 0
            self._process = subprocess.Popen(
                [*self._command, port + self._remote],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                # Of the later ones nobody reads what they say, and it would fill the pipe.
                stderr=subprocess.DEVNULL if port else None,
            )
        found = ""
        with self._process as process:
            for line in process.stdout or ():
                told = _FORWARDING.search(line)
                if told and not found:
                    found = told[1].decode()
                    # The reader may be gone: then the input ends, too.
                    with contextlib.suppress(OSError):
                        sys.stdout.write(f"port {found}\n")
                        sys.stdout.flush()
            return found, process.wait()

    def _wait_for_the_end(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 1024):
                pass
        with self._lock:
            self._is_over.set()
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    sys.exit(_Forwarder(sys.argv[1:]).run())
