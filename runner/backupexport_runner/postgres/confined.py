"""The questions to a server, asked in a child process that the server may hold up, or break.

A server can be hostile, and libpq is C: while it hashes a password in as many rounds as the server
asks for, or stores what the server sends, no Python code runs that could end it.  So a child asks,
within limits of the kernel, and is killed where it takes too long.  It is forked while the process
has one thread, which takes milliseconds; a new Python that loads psycopg takes 0.2 s of a CPU.
"""

import json
import multiprocessing
import resource
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import astuple
from multiprocessing.connection import Connection
from typing import Any

from backupexport_runner.postgres import preflight
from backupexport_runner.postgres.catalogs import Catalogs
from backupexport_runner.postgres.connection_failures import connection_failure
from backupexport_runner.postgres.dump_failures import Obstacle
from backupexport_runner.task.failure import Failure

# More than `preflight` allows itself, from the first name look-up to the last row.
_SECONDS = 20
# The child has 25 MiB when it is forked; a login by TLS and one row take a few more.
_MOST_MEMORY = 96 * 1024 * 1024
# The catalogs' names are most of it.
_MOST_ANSWER = 1024 * 1024
_MOST_TRACEBACK = 8 * 1024

_Parameters = Mapping[str, str]
_QUESTIONS: dict[str, Callable[[_Parameters], preflight.Server | Obstacle | None]] = {
    "look_at_server": preflight.look_at_server,
    "find_obstacle": preflight.find_obstacle,
}


class ConfinedQuestions:
    """Asks as `preflight` does; make it before the process has a second thread."""

    def __init__(self) -> None:
        # What fork copies of other threads' locks would stay locked.
        context = multiprocessing.get_context("fork")
        self._connection, others = context.Pipe()
        self._child = context.Process(
            target=_serve, args=(others, self._connection), name="questions", daemon=True
        )
        self._child.start()
        others.close()

    def look_at_server(self, parameters: _Parameters) -> preflight.Server:
        """Returns version, size and catalogs.  Raises Failure if it can't connect."""
        number, version, size, session, catalogs = self._answer("look_at_server", parameters)
        return preflight.Server(number, version, size, session, Catalogs(*catalogs))

    def find_obstacle(self, parameters: _Parameters) -> Obstacle | None:
        """Returns the first object that the user can't read.  Raises Failure as `preflight`."""
        found = self._answer("find_obstacle", parameters)
        return Obstacle(*found) if found else None

    def kill(self) -> None:
        """Ends the child, and so every question, at once."""
        self._child.kill()

    def _answer(self, question: str, parameters: _Parameters) -> Any:
        try:
            self._connection.send((question, dict(parameters)))
            if not self._connection.poll(_SECONDS):
                self.kill()
                raise connection_failure((), "timeout expired: the server did not answer in time")
            kind, answer = json.loads(self._connection.recv_bytes(_MOST_ANSWER))
        except (OSError, EOFError):
            # The child is dead; without memory it doesn't always find the words.
            raise connection_failure((), "the server's answers can't be read") from None
        if kind == "failure":
            raise Failure(*answer)
        if kind == "bug":
            raise RuntimeError(answer)
        return answer


def _serve(questions: Connection, others: Connection) -> None:
    # Open here, too, it would hide the parent's end.
    others.close()
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    while True:
        try:
            question, parameters = questions.recv()
        except EOFError:
            return
        # Whoever would kill it may be gone.
        signal.setitimer(signal.ITIMER_REAL, _SECONDS + 1)
        questions.send_bytes(json.dumps(_reply(question, parameters)).encode())
        signal.setitimer(signal.ITIMER_REAL, 0)


def _reply(question: str, parameters: _Parameters) -> tuple[str, Any]:
    try:
        answer = _QUESTIONS[question](parameters)
    except Failure as failure:
        return "failure", (failure.exit_code, failure.message)
    except Exception:  # noqa: BLE001 - it must reach the runner's log
        return "bug", traceback.format_exc()[-_MOST_TRACEBACK:]
    return "answer", answer and astuple(answer)
