"""Runs of the command line as processes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from playground.tools import ROOT


@dataclass(frozen=True)
class Ran:
    """What a command has written, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document of stdout."""
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """The JSON documents of stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def cli_environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a user whose home directory is `home`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("cli", "crds")),
        "PYTHONWARNINGS": "error",
        # A test machine has no keyring to ask for a password.
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        **settings,
    }


class Command(subprocess.Popen[str]):
    """A command that ends with its context, also where that fails."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        super().__exit__(kind, value, traceback)


def start(home: Path, settings: Mapping[str, str], *arguments: str) -> Command:
    """Begin a command."""
    return Command(
        [sys.executable, "-m", "backupexport_cli", *arguments],
        env=cli_environment(home, settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(home: Path, settings: Mapping[str, str], *arguments: str, seconds: float = 60) -> Ran:
    """Run a command to its end."""
    with start(home, settings, *arguments) as process:
        out, err = process.communicate(timeout=seconds)
    return Ran(process.returncode, out, err)
