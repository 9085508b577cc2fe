"""The task's log: lines of JSON on stdout, without any secret value."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterable
from typing import TextIO
from urllib.parse import quote

from backupexport_contract import runner_protocol, timestamps

# Stands in place of a secret.
HIDDEN = "[hidden]"


class Scrubber:
    """Hides the secrets it knows, as they are and as URIs, JSON and Python's repr spell them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._spellings: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hides these values, too, from now on; empty ones are ignored."""
        spellings = set(self._spellings)
        for secret in filter(None, secrets):
            spellings |= {
                secret,
                quote(secret, safe="", errors="surrogateescape"),
                json.dumps(secret)[1:-1],
                repr(secret)[1:-1],
            }
        # Longest first, or a short one could cut a long one into pieces that stay.
        self._spellings = sorted(spellings, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """Returns `text` without any known secret."""
        for spelling in self._spellings:
            text = text.replace(spelling, HIDDEN)
        return text


class Log:
    """Writes whole lines, from any thread, with every secret hidden."""

    def __init__(self, scrubber: Scrubber, stream: TextIO | None = None) -> None:
        self.scrubber = scrubber
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def event(self, event: str, **fields: str | float | None) -> None:
        """Writes one line with the time, `event` and `fields`."""
        clean = {
            name: self.scrubber.clean(value) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        line = {"time": timestamps.to_text(timestamps.now()), "event": event, **clean}
        self._write(json.dumps(line, separators=(",", ":")))

    def progress(self, progress: runner_protocol.Progress) -> None:
        """Writes one progress line, as the operator reads it."""
        self._write(runner_protocol.progress_line(progress, timestamps.to_text(timestamps.now())))

    def _write(self, line: str) -> None:
        # A log that nobody reads any more is no reason to give up a dump.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()
