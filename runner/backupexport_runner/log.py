"""The runner's log: JSON lines on stdout, each with `time` and `event`."""

import contextlib
import json
import sys
import threading
from typing import TextIO

from backupexport_contract import runner_protocol, timestamps

from backupexport_runner.scrubbing import Scrubber


class Log:
    """Writes one whole line at a time, from any thread, with every secret hidden."""

    def __init__(self, scrubber: Scrubber, stream: TextIO | None = None) -> None:
        self._scrubber = scrubber
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def event(self, event: str, **fields: str | float | None) -> None:
        """One line; texts among `fields` are scrubbed."""
        clean = {
            name: self._scrubber.clean(value) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        line = {"time": timestamps.to_text(timestamps.now()), "event": event, **clean}
        self._write(json.dumps(line, separators=(",", ":")))

    def progress(self, progress: runner_protocol.Progress) -> None:
        """One progress line, as the operator reads it."""
        now = timestamps.to_text(timestamps.now())
        self._write(runner_protocol.progress_line(progress, time=now))

    def _write(self, line: str) -> None:
        # A log that nobody reads any more is no reason to give up a dump.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()
