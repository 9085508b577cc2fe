"""Notes beside the file which parts and messages Telegram has taken, so that an attempt goes on.

Nothing is noted before a request: Telegram can't be asked whether it has a document, so such a note
would tell nothing.  A part is sent again if its answer was lost, or was not on the disk when the
process died.  Lost answers are counted, or a proxy that loses each of them would fill the chat.

The first note has every part already, and later ones only fill in numbers, so a volume without room
refuses before anything is sent.  A journal of another plan is ignored.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from backupexport_runner.delivery.kinds.telegram.parts import Part
from backupexport_runner.storage.interface import Notes

# Stands for a number not known yet, as wide as Telegram's: filling one in needs no more room.
_UNSENT = -(10**12)


def parts_plan(artifact_sha256: str, part_bytes: int, chat_id: str) -> dict[str, str | int]:
    """Returns what an earlier attempt must have in common, so that this one can go on with it."""
    # The journal, which others may read, has only the chat's hash.
    chat_hash = hashlib.sha256(b"telegram chat " + chat_id.encode()).hexdigest()
    return {"artifact_sha256": artifact_sha256, "part_bytes": part_bytes, "chat_hash": chat_hash}


class Sending:
    """A part or message in the journal: Telegram's answer, and how often it was lost.

    Every change is on the disk when its method returns.
    """

    def __init__(self, entry: dict[str, Any], write: Callable[[], None]) -> None:
        self._entry = entry
        self._write = write

    @property
    def unanswered(self) -> int:
        """How often it was sent as a whole without an answer."""
        return int(self._entry["unanswered"])

    def note_answer(self, message_id: int) -> None:
        """Notes that it is in the chat."""
        self._entry["message_id"] = message_id
        self._write()

    def note_lost_answer(self) -> None:
        """Notes that it was sent as a whole, and the answer is lost."""
        self._entry["unanswered"] += 1
        self._write()


class Journal:
    """The notes of one delivery; every change is on the disk when its method returns.

    Methods raise Failure(DELIVERY_DEFERRED) if the volume refuses.
    """

    def __init__(
        self,
        file: Notes,
        plan: Mapping[str, str | int],
        parts: Sequence[Part],
        sha256s: Sequence[str],
        messages: int,
    ) -> None:
        self._file = file
        self._notes: dict[str, Any] = {
            "plan": dict(plan),
            "moved_to": None,
            "not_before": _UNSENT,
            "parts": [
                {"name": part.name, "sha256": sha256, "message_id": _UNSENT, "unanswered": 0}
                for part, sha256 in zip(parts, sha256s, strict=True)
            ],
            "messages": [{"message_id": _UNSENT, "unanswered": 0} for _ in range(messages)],
            "damaged": False,
        }
        earlier = file.read()
        if earlier is not None and _continues(earlier, self._notes):
            self._notes = earlier

    @property
    def parts_sent(self) -> int:
        """How many parts Telegram has taken, from the first on."""
        return _leading(self._notes["parts"])

    @property
    def messages_sent(self) -> int:
        """How many of the messages after the parts Telegram has taken."""
        return _leading(self._notes["messages"])

    @property
    def moved_to(self) -> str | None:
        """The chat that replaced the configured one, when the group became a supergroup."""
        # Not hashed, for requests need it; without the token it opens nothing.
        moved_to: str | None = self._notes["moved_to"]
        return moved_to

    @property
    def not_before(self) -> int:
        """The time, in seconds since 1970, before which Telegram takes nothing."""
        return int(self._notes["not_before"])

    def part(self, number: int) -> Sending:
        """Returns the part; `number` counts from one."""
        return Sending(self._notes["parts"][number - 1], self._write)

    def message(self, index: int) -> Sending:
        """Returns a message after the parts; `index` counts from zero."""
        return Sending(self._notes["messages"][index], self._write)

    def begin(self) -> None:
        """Writes what is known, before anything is sent."""
        self._file.begin(self._notes)

    def note_damage(self, number: int, message_id: int) -> None:
        """Notes that the chat has a part that isn't of the file; no attempt goes on from there."""
        self._notes["damaged"] = True
        self.part(number).note_answer(message_id)

    def note_move(self, chat_id: str) -> None:
        """Notes the chat that Telegram says to use from now on."""
        self._notes["moved_to"] = chat_id
        self._write()

    def note_pause(self, not_before: int) -> None:
        """Notes when Telegram's pause is over, which may be in a later attempt."""
        # A server's odd number must not be wider than the room there is.
        self._notes["not_before"] = min(not_before, -_UNSENT)
        self._write()

    def _write(self) -> None:
        self._file.write(self._notes)


def parts_in_chat(file: Notes) -> tuple[int, int, bool]:
    """Returns how many parts a chat has and was to have, by any plan, and if one is damaged."""
    notes = file.read() or {}
    parts = notes.get("parts")
    if not isinstance(parts, list):
        return 0, 0, False
    sent = [part for part in parts if isinstance(part, dict) and part.get("message_id") != _UNSENT]
    return len(sent), len(parts), notes.get("damaged") is not False


def _leading(entries: Iterable[dict[str, Any]]) -> int:
    taken = itertools.takewhile(lambda entry: entry["message_id"] != _UNSENT, entries)
    return len(list(taken))


def _continues(earlier: dict[str, Any], fresh: dict[str, Any]) -> bool:
    """Whether `earlier` is `fresh` with only answers filled in."""
    moved_to = earlier.get("moved_to")
    return (
        earlier.keys() == fresh.keys()
        and earlier["plan"] == fresh["plan"]
        and earlier["damaged"] is False
        and (moved_to is None or isinstance(moved_to, str))
        and type(earlier["not_before"]) is int
        and _fits(earlier["parts"], fresh["parts"])
        and _fits(earlier["messages"], fresh["messages"])
    )


def _fits(earlier: object, fresh: list[dict[str, Any]]) -> bool:
    return (
        isinstance(earlier, list)
        and len(earlier) == len(fresh)
        and all(
            isinstance(entry, dict)
            and entry | {"message_id": _UNSENT, "unanswered": 0} == expected
            and type(entry.get("message_id")) is int
            and type(entry.get("unanswered")) is int
            for entry, expected in zip(earlier, fresh, strict=True)
        )
    )
