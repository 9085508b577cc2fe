"""Nothing for kopf to keep on the resources.

It keeps what handlers of changes have handled and how far they are; we have none of these, and
without these two it copies each resource whole for every event (a sixth of the operator's time).
"""

from typing import Any

import kopf


class NoDiffBase(kopf.DiffBaseStorage):
    """No copy of what was handled last."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Nothing was handled."""
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """No progress of handlers."""

    def fetch(self, **_: Any) -> None:
        """No handler has begun."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing."""

    def touch(self, **_: Any) -> None:
        """There is nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Nothing of ours is in it."""
        return essence
