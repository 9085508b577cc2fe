"""A terminal of any width, in which a command runs, and what its screen shows."""

import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl
from typing import Self

import pyte

_DEADLINE_SECONDS = 120.0


class Terminal:
    """A command in a pseudo-terminal of `columns` by `lines` characters, until it is closed."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        variables = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
        # These would win over the size that the terminal has.
        for name in ("COLUMNS", "LINES"):
            variables.pop(name, None)
        try:
            self._process = subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def type(self, text: str) -> None:
        """Type on the keyboard; \\x03 is Ctrl-C as a signal, for the command leads no job."""
        if text == "\x03":
            self._process.send_signal(signal.SIGINT)
        else:
            os.write(self._ours, text.encode())

    def text(self) -> str:
        """What the screen shows now, without what is blank at the ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait_for(self, is_there: Callable[[str], bool], *, seconds: float = 30.0) -> str:
        """The screen once `is_there` says so of its text; AssertionError where it never does."""
        ends_at = time.monotonic() + seconds
        while not is_there(self.text()):
            left = ends_at - time.monotonic()
            assert left > 0, f"not in {seconds} s:\n{self.text()}"
            if not self._read(left):
                assert is_there(self.text()), f"the command has ended:\n{self.text()}"
        return self.text()

    def finish(self, *, seconds: float = _DEADLINE_SECONDS) -> int:
        """Show everything until the command ends; its exit code."""
        ends_at = time.monotonic() + seconds
        while self._read(max(0.0, ends_at - time.monotonic())):
            assert time.monotonic() < ends_at, f"still running:\n{self.text()}"
        return self._process.wait(timeout=max(1.0, ends_at - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Show what has come within this time; False once there is no more to come."""
        readable, _, _ = select.select([self._ours], [], [], seconds)
        if not readable:
            return self._process.poll() is None
        try:
            some = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody has the other side open any more.
            return False
        self._stream.feed(some)
        return bool(some)
