"""A program of its own: runs kubectl port-forward until its standard input ends.

Whoever started it may end in any way, killed too: the pipe ends with it, and so does kubectl.  A
kubectl that ends before that, as it does when its pod goes, is started again.  The port that is
told is this program's own, from which it carries each connection to kubectl's: so no other program
of this machine takes it, and what is sent to it, while there is no kubectl.

Arguments: the command with `:REMOTE` at its end.  It writes `port PORT` as soon as it forwards, and
what kubectl says on stderr; it ends where the first kubectl never forwards.  It is run by its path,
so it imports nothing of this package.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading

_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ->")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
_GRACE_SECONDS = 2.0
_HERE = "127.0.0.1"
_CHUNK = 2**18


class _Relay:
    """A port of this machine, from which connections lead to another one, or end at once."""

    def __init__(self) -> None:
        self._listener = socket.create_server((_HERE, 0))
        self.port = int(self._listener.getsockname()[1])
        self.target: int | None = None
        """Where they lead to; None while that is nowhere."""

    def serve(self) -> None:
        """Take connections, for ever."""
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        target = self.target
        with client, contextlib.suppress(OSError):
            if target is None:
                return
            with socket.create_connection((_HERE, target)) as server:
                sending = threading.Thread(target=_copy, args=(client, server), daemon=True)
                sending.start()
                _copy(server, client)
                # Who has no answer any more is not read any more.
                client.shutdown(socket.SHUT_RDWR)
                sending.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Carry what comes, and its end."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class _Forwarder:
    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._relay = _Relay()
        self._has_forwarded = False
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Return kubectl's exit code where it never forwarded, else 0."""
        threading.Thread(target=self._wait_for_the_end, daemon=True).start()
        pause = _FIRST_PAUSE
        while not self._is_over.is_set():
            is_good, code = self._forward()
            if not self._has_forwarded:
                return code or 1
            pause = _FIRST_PAUSE if is_good else min(pause * 2, _LONGEST_PAUSE)
            self._is_over.wait(pause)
        return 0

    def _forward(self) -> tuple[bool, int]:
        """Run kubectl to its end; return whether it has forwarded, and its code."""
        with self._lock:
            if self._is_over.is_set():
                return False, 0
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                # Of the later ones nobody reads what they say, and it would fill the pipe.
                stderr=subprocess.DEVNULL if self._has_forwarded else None,
            )
        is_good = False
        with self._process as process:
            for line in process.stdout or ():
                told = _FORWARDING.search(line)
                if told and not is_good:
                    is_good = True
                    self._relay.target = int(told[1])
                    self._tell()
            # At once: its port is anybody's now.
            self._relay.target = None
            return is_good, process.wait()

    def _tell(self) -> None:
        """Take connections, and say where, the first time."""
        if self._has_forwarded:
            return
        self._has_forwarded = True
        threading.Thread(target=self._relay.serve, daemon=True).start()
        # The reader may be gone: then the input ends, too.
        with contextlib.suppress(OSError):
            sys.stdout.write(f"port {self._relay.port}\n")
            sys.stdout.flush()

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
