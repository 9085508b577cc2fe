"""The command line as a user has it: a process, with files of its own and nothing of the machine's.

What it writes never has the token in it, nor a traceback: that is looked at after each command.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.tools import ROOT, STATE, environment

_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "KUBECONFIG")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """The documents on stdout, each in a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """Runs commands in a folder of its own, below which its contexts and tokens are, too."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        token: str | None = None,
        modules: Path | None = None,
        **variables: str,
    ) -> None:
        """`modules` are imported before all others; `variables` are the environment's.

        Without `url` and `token` it has what it is logged in to.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._secrets = [token] if token else []
        named = {"BACKUPEXPORT_URL": url, "BACKUPEXPORT_TOKEN": token}
        own = {name: text for name, text in environment().items() if name in _INHERITED}
        imported = (modules, ROOT / "cli", ROOT / "crds")
        self._environment = {
            **own,
            "PATH": f"{STATE / 'bin'}{os.pathsep}{own['PATH']}",
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, filter(None, imported))),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "BACKUPEXPORT_CONFIG_DIR": str(folder / ".config"),
            # A warning of Python's is a mistake of ours.
            "PYTHONWARNINGS": "error",
            **{name: text for name, text in named.items() if text is not None},
            **variables,
        }

    def hides(self, secret: str) -> None:
        """From now on no command may write this."""
        self._secrets.append(secret)

    def run(self, *arguments: str, code: int = 0, stdin: str = "", seconds: float = 240) -> Ended:
        """Run a command to its end, which has to be with this exit code."""
        with self.started(*arguments) as process:
            try:
                out, err = process.communicate(stdin.encode(), timeout=seconds)
            except subprocess.TimeoutExpired as error:
                raise AssertionError(
                    f"{arguments} goes on: {error.stdout!r} {error.stderr!r}"
                ) from None
        return self.looked_at(process, arguments, out, err, code)

    def ended(self, process: subprocess.Popen[bytes], code: int = 0, seconds: float = 240) -> Ended:
        """What is left to read of a started command, once it has ended with this exit code."""
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it goes on: {error.stdout!r} {error.stderr!r}") from None
        return self.looked_at(process, process.args, out, err, code)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs; it is killed where it goes on at the end of the context."""
        process = subprocess.Popen(
            [sys.executable, "-m", "backupexport_cli", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def looked_at(
        self, process: subprocess.Popen[bytes], what: Any, out: bytes, err: bytes, code: int
    ) -> Ended:
        """What a command has written, after a look at it."""
        # A file on stdout is no text.
        found = Ended(process.returncode, out.decode(errors="replace"), err.decode())
        told = f"{what}: exit code {found.code}, not {code}\n{found.err}\n{found.out[-2000:]}"
        assert found.code == code, told
        assert "Traceback" not in found.err, told
        assert all(letter.isprintable() or letter == "\n" for letter in found.err), told
        for secret in self._secrets:
            assert secret not in found.err
            assert secret not in found.out
        return found


def first_line(process: subprocess.Popen[bytes]) -> str:
    """The first line that a command writes on stdout, such as the id of the job it asked for."""
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does."""
    process.send_signal(signal.SIGINT)
