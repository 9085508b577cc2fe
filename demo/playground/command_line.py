"""The command line, as `make demo` has installed it, with one server and one token."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from playground.tools import STATE, ToolError

DIRECTORY = STATE / "cli" / "bin"
URL_VARIABLE, TOKEN_VARIABLE = "BACKUPEXPORT_URL", "BACKUPEXPORT_TOKEN"


@dataclass(frozen=True)
class CommandLine:
    """Who calls, and where."""

    url: str
    token: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """What the command finds its server and token by."""
        return {URL_VARIABLE: self.url, TOKEN_VARIABLE: self.token}

    def show(self, *arguments: str) -> None:
        """Print the command as one types it, and run it in this terminal."""
        self._run(arguments, is_shown=True, output=None)

    def answer(self, *arguments: str) -> str:
        """Print the command and what it says; return what it prints to its standard output."""
        answer = self._run(arguments, is_shown=True, output=subprocess.PIPE).strip()
        print(answer, flush=True)
        return answer

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it."""
        told = self._run(("--json", "job", job_id), is_shown=False, output=subprocess.PIPE)
        job: dict[str, Any] = json.loads(told)
        return job

    def _run(self, arguments: tuple[str, ...], *, is_shown: bool, output: int | None) -> str:
        if is_shown:
            print(f"$ {shlex.join(['backupexport', *arguments])}", flush=True)
        sys.stdout.flush()
        done = subprocess.run(
            [DIRECTORY / "backupexport", *arguments],
            env={**os.environ, **self.environment()},
            stdout=output,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ToolError(
                f"{shlex.join(['backupexport', *arguments])} ended with {done.returncode}"
            )
        return done.stdout or ""
