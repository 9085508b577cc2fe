"""Takes secret values out of text that leaves the process."""

import json
from collections.abc import Iterable
from urllib.parse import quote

_HIDDEN = "[hidden]"


class Scrubber:
    """Replaces every spelling of the secrets it knows: as they are, in a URI, in JSON, in repr."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._spellings: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these values too from now on; empty ones are no secret."""
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
        """`text` without any known secret."""
        for spelling in self._spellings:
            text = text.replace(spelling, _HIDDEN)
        return text
