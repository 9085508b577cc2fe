"""The task's log: lines of JSON on stdout, without any secret value."""

import contextlib
import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TextIO
from urllib.parse import quote

from backupexport_contract import runner_protocol, timestamps

from backupexport_runner.task.failure import one_line

# Stands in place of a secret.
HIDDEN = "[hidden]"


# Shorter ones are in every other word, and are hidden as whole words only.
_SHORTEST_ANYWHERE = 4
# So much of a secret's begin gives it away: the server cuts names at 63 bytes, others cut lines.
_STEM = 16
# Of a key in PEM each line is hidden, but for the last one where that is a few characters.
_SHORTEST_LINE = 8
# What charts and images give everybody, and words of our own sentences: to hide them would tell
# them, and hide the sentence.
_NO_SECRETS = frozenset({"5432", "postgres", "app", "localhost", "mail", "user", "server"})


class Scrubber:
    """Hides the secrets it knows, as they are and as URIs, SQL, JSON and Python's repr spell them.

    What is cut after its first 16 characters is hidden, too.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Each spelling, and whether it is hidden as a whole word only.
        self._spellings: dict[str, bool] = {}
        self.learn(secrets)

    def learn(self, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        """Hides these values, too, from now on; `names` and short ones only as whole words."""
        for name in names:
            if name not in _NO_SECRETS:
                for spelling in _spellings(name):
                    self._spellings.setdefault(spelling, True)
        for secret in secrets:
            for spelling in _spellings(secret):
                self._spellings[spelling] = len(spelling) < _SHORTEST_ANYWHERE

    def clean(self, text: str) -> str:
        """Returns `text` without any known secret."""
        places = sorted(
            place
            for spelling, is_word in list(self._spellings.items())
            for place in _places(text, spelling, is_word=is_word)
        )
        kept, at = "", 0
        for begin, end in places:
            if begin >= at:
                kept += text[at:begin] + HIDDEN
            at = max(at, end)
        return kept + text[at:]


def _spellings(value: str) -> set[str]:
    values = {value, value.strip(), *map(str.strip, value.splitlines())}
    if "-----BEGIN" in value:
        # What frames PEM is in every certificate.
        values = {line for line in values if len(line) >= _SHORTEST_LINE and "-----" not in line}
    encoded = {quote(each, safe="", errors="surrogateescape") for each in values}
    # Others write the digits small, or a space as forms do.
    encoded |= {re.sub("%..", lambda digits: digits[0].lower(), each) for each in encoded}
    spelled = values | encoded | {each.replace("%20", "+") for each in encoded}
    for each in values:
        spelled |= {json.dumps(each)[1:-1], repr(each)[1:-1], each.replace("'", "''")}
        spelled.add(each.replace("\\", "\\\\").replace("'", "\\'"))
        # As sentences have it.
        spelled.add(one_line(each, len(each) + 1))
    return spelled - {""}


def _places(text: str, spelling: str, *, is_word: bool) -> Iterator[tuple[int, int]]:
    """Yields where `spelling`, or a begin of it that is long enough, begins and ends in `text`."""
    stem = spelling[:_STEM]
    begin = text.find(stem)
    while begin >= 0:
        end = begin + _shared(text[begin : begin + len(spelling)], spelling)
        if not (is_word and (_is_in_word(text, begin - 1) or _is_in_word(text, end))):
            yield begin, end
        begin = text.find(stem, end)
    if not is_word:
        yield from _cut_places(text, spelling)


def _cut_places(text: str, spelling: str) -> Iterator[tuple[int, int]]:
    """Yields where a sentence is cut within the begin of `spelling`."""
    for cut in re.finditer("…", text):
        for length in range(min(_STEM, len(spelling)) - 1, _SHORTEST_ANYWHERE - 1, -1):
            if text.endswith(spelling[:length], 0, cut.start()):
                yield cut.start() - length, cut.start()
                break


def _shared(text: str, other: str) -> int:
    """Returns how many characters both begin with."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((at for at, (one, two) in pairs if one != two), min(len(text), len(other)))


def _is_in_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")


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
