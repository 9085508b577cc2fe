"""JSON documents that stand one after the other, read as they come; pure."""

import codecs
import json
import re
from typing import Any

# One resource is at most 1.5 MiB in etcd.
_MOST_CHARACTERS = 8 * 2**20
_MARK = re.compile(r'["{}\[\]\\]')
_MARK_OF_TEXT = re.compile(r'["\\]')


class JsonDocuments:
    """Objects and arrays, found by their brackets: how they are laid out doesn't matter."""

    def __init__(self, most: int = _MOST_CHARACTERS) -> None:
        """A document of more characters than `most` is a ValueError."""
        self._most = most
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._place = 0
        self._depth = 0
        self._is_in_text = False

    def feed(self, chunk: bytes) -> list[Any]:
        """Return the documents that end in `chunk`; raises ValueError for what is no JSON."""
        self._text += self._decoder.decode(chunk)
        found = []
        while (end := self._end()) is not None:
            found.append(json.loads(self._text[:end]))
            self._text, self._place = self._text[end:], 0
        if len(self._text) > self._most:
            raise ValueError(f"a document of more than {self._most} characters")
        return found

    def _end(self) -> int | None:
        """Return where the first document ends, None where that hasn't come yet."""
        while True:
            marks = _MARK_OF_TEXT if self._is_in_text else _MARK
            mark = marks.search(self._text, self._place)
            if mark is None:
                self._place = len(self._text)
                return None
            if mark[0] == "\\":
                if mark.end() == len(self._text):
                    # What it is before comes with the next chunk.
                    self._place = mark.start()
                    return None
                self._place = mark.end() + 1
                continue
            self._place = mark.end()
            if mark[0] == '"':
                self._is_in_text = not self._is_in_text
            elif mark[0] in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0:
                    self._depth = 0
                    return self._place
