"""The user's kubectl as a process: arguments as a list, what it says bounded, and a deadline."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.failures import KubectlError, failure

_DEADLINE_SECONDS = 90.0
# Of one request: a kubectl asks several.
_REQUEST_SECONDS = 15
_GRACE_SECONDS = 2.0
_MOST_BYTES = 64 * 2**20
_MOST_WORDS = 64 * 2**10
_CHUNK = 64 * 2**10
# What no other program needs.
_SECRETS = ("BACKUPEXPORT_TOKEN",)


class Kubectl:
    """Runs kubectl in one context and one namespace of its kubeconfig."""

    def __init__(
        self,
        context: str | None = None,
        namespace: str | None = None,
        *,
        on_run: Callable[[list[str]], None] = lambda _: None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """None is the kubeconfig's own choice; `on_run` gets each command before it is run."""
        self.context = context
        self.namespace = namespace
        self._on_run = on_run
        self._environment = os.environ if environment is None else environment

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        return {name: value for name, value in self._environment.items() if name not in _SECRETS}

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command; raises CliError where there is no kubectl."""
        program = shutil.which("kubectl", path=self._environment.get("PATH"))
        if program is None:
            raise CliError(
                ExitCode.NOT_ALLOWED,
                "There is no kubectl on this machine.",
                "Install it (https://kubernetes.io/docs/tasks/tools/), or leave --kube out.",
            )
        where = [f"--context={self.context}"] if self.context else []
        where += [f"--namespace={self.namespace}"] if self.namespace else []
        command = [program, *where, *arguments]
        self._on_run(["kubectl", *command[1:]])
        return command

    def run(
        self,
        *arguments: str,
        stdin: str = "",
        seconds: float = _DEADLINE_SECONDS,
        most: int = _MOST_BYTES,
    ) -> str:
        """Return what kubectl prints; raises KubectlError where it fails, or says too much."""
        command = self.command(f"--request-timeout={_REQUEST_SECONDS}s", *arguments)
        with started(command, self.environment, stdin=subprocess.PIPE) as process:
            given = threading.Thread(target=_give, args=(process, stdin.encode()), daemon=True)
            given.start()
            # One that says too much is ended at once: nobody waits for the rest.
            out = Kept(process.stdout, most, on_more=lambda: end(process))
            words = Kept(process.stderr, _MOST_WORDS)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise KubectlError(
                    ExitCode.UNREACHABLE,
                    f"kubectl had no answer within {seconds:g} seconds.",
                    "Check with: kubectl get --raw /readyz",
                ) from None
            finally:
                end(process)
            text, told = out.text(), words.text()
            given.join(_GRACE_SECONDS)
        if out.has_more:
            raise KubectlError(
                ExitCode.FAILED,
                f"kubectl printed more than {most // 2**20} MiB.",
                "Ask for less, such as one project with --project.",
            )
        if process.returncode:
            raise failure(told)
        return text

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """Return the JSON document that kubectl prints."""
        text = self.run(*arguments, "--output=json", stdin=stdin)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise KubectlError(
                ExitCode.FAILED,
                "kubectl printed something else than JSON.",
                "Look at `kubectl version`: 1.27 or newer is needed.",
            ) from None

    @contextmanager
    def following(self, *arguments: str) -> Iterator["Followed"]:
        """Yield what a kubectl prints that goes on until the context is left."""
        command = self.command(*arguments)
        with started(command, self.environment) as process:
            followed = Followed(process)
            try:
                yield followed
            finally:
                end(process)
                followed.close()


class Followed:
    """The output of a kubectl that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        # Bounded: a kubectl that nobody listens to has to wait.
        self._chunks: queue.Queue[bytes] = queue.Queue(maxsize=16)
        self._words = Kept(process.stderr, _MOST_WORDS)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def read(self, seconds: float) -> bytes | None:
        """Return some of what it prints, b"" at its end, None where it is silent for so long."""
        try:
            return self._chunks.get(timeout=seconds)
        except queue.Empty:
            return None

    def failure(self) -> KubectlError | None:
        """Return why it has ended, None where that was no failure."""
        code = self._process.wait()
        return failure(self._words.text()) if code else None

    def close(self) -> None:
        """Forget the rest of what it has printed; it has ended."""
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._reader.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._chunks.get(timeout=0.05)

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is not None:
            # Closed under it where the kubectl left children that hold the pipe.
            with contextlib.suppress(OSError, ValueError):
                while chunk := os.read(stream.fileno(), _CHUNK):
                    self._chunks.put(chunk)
        self._chunks.put(b"")


class Kept:
    """The first bytes of a stream, which a thread of its own reads to its end."""

    def __init__(
        self, stream: IO[bytes] | None, most: int, on_more: Callable[[], None] = lambda: None
    ) -> None:
        """`on_more` is called once, when more than `most` bytes have come."""
        self.has_more = False
        self._stream = stream
        self._most = most
        self._on_more = on_more
        self._kept = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def text(self) -> str:
        """Return them as text, once the stream has ended, or a moment later."""
        self._reader.join(_GRACE_SECONDS)
        return self._kept.decode("utf-8", "replace")

    def _read(self) -> None:
        if self._stream is None:
            return
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._stream.fileno(), _CHUNK):
                room = self._most - len(self._kept)
                self._kept += chunk[:room]
                if len(chunk) > room and not self.has_more:
                    self.has_more = True
                    self._on_more()


@contextmanager
def started(
    command: list[str], environment: dict[str, str], stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process, in a group of its own, that has ended when the context is left.

    So Ctrl-C on a terminal doesn't reach it: it ends when this program says so.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
    except OSError as error:
        raise CliError(
            ExitCode.NOT_ALLOWED,
            f"kubectl can't be started: {error.strerror}.",
            "Check with: kubectl version",
        ) from None
    with process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of `started`, and what it has started, such as plugins; harmless when over."""
    if process.poll() is not None:
        return
    _signal(process, "SIGTERM")
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    # What is left of the group: the number is not given to others while there is some.
    _signal(process, "SIGKILL")
    process.wait()


def _signal(process: subprocess.Popen[bytes], name: str) -> None:
    if os.name != "posix":
        process.terminate()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, getattr(signal, name))


def _give(process: subprocess.Popen[bytes], text: bytes) -> None:
    if process.stdin is not None:
        # It may have ended without reading.
        with contextlib.suppress(OSError, ValueError), process.stdin as stdin:
            stdin.write(text)
