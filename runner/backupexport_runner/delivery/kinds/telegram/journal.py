"""What Telegram has answered for, noted beside the file, so that an attempt goes on where one died.

Nothing is noted before a request: Telegram can't be asked whether it has a document, so a note
that one was about to be sent would tell nothing.  A part is sent again where Telegram's answer did
not arrive, or was not noted: who dies between it and the end of the fsync that follows.  Answers
that did not arrive are counted, or a proxy that loses each of them would fill the chat.

The first note has every part already, and later ones only fill in numbers: a volume without room
for them refuses before anything is sent.  A journal of another plan is as good as none.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from backupexport_runner.delivery.kinds.telegram.parts import Part
from backupexport_runner.volume.delivery_notes import NotesFile

# As wide as Telegram's numbers get, so that filling one in needs no more room.
_UNSENT = -(10**12)


@dataclass(frozen=True, slots=True)
class PartsPlan:
    """What makes an earlier attempt's parts fit to those of this one."""

    artifact_sha256: str
    part_bytes: int
    chat_hash: str

    def as_json(self) -> dict[str, Any]:
        """The fields by their names."""
        return {name: getattr(self, name) for name in self.__slots__}


def chat_hash(chat_id: str) -> str:
    """What stands for the chat in the journal, which others may read."""
    return hashlib.sha256(b"telegram chat " + chat_id.encode()).hexdigest()


class Journal:
    """The notes of one delivery; every change is on the disk when its method returns.

    Failure(DELIVERY_DEFERRED) where the volume refuses.
    """

    def __init__(
        self,
        file: NotesFile,
        plan: PartsPlan,
        parts: Sequence[Part],
        sha256s: Sequence[str],
        messages: int,
    ) -> None:
        self._file = file
        self._notes: dict[str, Any] = {
            "plan": plan.as_json(),
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
        """How many parts Telegram has answered for, from the first on."""
        return _leading(self._notes["parts"])

    @property
    def messages_sent(self) -> int:
        """How many of the messages after the parts Telegram has answered for."""
        return _leading(self._notes["messages"])

    @property
    def moved_to(self) -> str | None:
        """The chat that took the place of the configured one, when the group became a supergroup.

        It is as it is, for requests need it; without the token it opens nothing.
        """
        moved_to: str | None = self._notes["moved_to"]
        return moved_to

    @property
    def not_before(self) -> int:
        """The time, in seconds since 1970, that Telegram wants nothing before."""
        not_before: int = self._notes["not_before"]
        return not_before

    def begin(self) -> None:
        """Write what is known, before anything is sent."""
        self._file.begin(self._notes)

    def note_damage(self, number: int, message_id: int) -> None:
        """Note that the chat has a part that isn't of the file; nothing goes on from there."""
        self._notes["damaged"] = True
        self.note_part(number, message_id)

    def note_part(self, number: int, message_id: int) -> None:
        """Note Telegram's answer for the part."""
        self._notes["parts"][number - 1]["message_id"] = message_id
        self._write()

    def unanswered_part(self, number: int) -> int:
        """How often the part was sent as a whole without an answer."""
        return _unanswered(self._notes["parts"][number - 1])

    def note_unanswered_part(self, number: int) -> None:
        """Note that the part was sent as a whole, and the answer is lost."""
        self._notes["parts"][number - 1]["unanswered"] += 1
        self._write()

    def note_message(self, index: int, message_id: int) -> None:
        """Note Telegram's answer for a message after the parts."""
        self._notes["messages"][index]["message_id"] = message_id
        self._write()

    def unanswered_message(self, index: int) -> int:
        """How often the message was sent without an answer."""
        return _unanswered(self._notes["messages"][index])

    def note_unanswered_message(self, index: int) -> None:
        """Note that the message was sent, and the answer is lost."""
        self._notes["messages"][index]["unanswered"] += 1
        self._write()

    def note_move(self, chat_id: str) -> None:
        """Note the chat that Telegram says to use from now on."""
        self._notes["moved_to"] = chat_id
        self._write()

    def note_pause(self, not_before: int) -> None:
        """Note when Telegram's pause is over, which may be in a later attempt."""
        # An odd server's number must not be wider than what there is room for.
        self._notes["not_before"] = min(not_before, -_UNSENT)
        self._write()

    def _write(self) -> None:
        self._file.write(self._notes)


@dataclass(frozen=True, slots=True)
class PartsInChat:
    """What a chat has of a file, of whatever plan."""

    sent: int = 0
    planned: int = 0
    is_damaged: bool = False


def parts_in_chat(file: NotesFile) -> PartsInChat:
    """What the journal in this file tells."""
    notes = file.read() or {}
    parts = notes.get("parts")
    if not isinstance(parts, list):
        return PartsInChat()
    sent = [part for part in parts if isinstance(part, dict) and part.get("message_id") != _UNSENT]
    return PartsInChat(len(sent), len(parts), notes.get("damaged") is not False)


def _leading(sendings: Iterable[dict[str, Any]]) -> int:
    count = 0
    for sending in sendings:
        if sending["message_id"] == _UNSENT:
            break
        count += 1
    return count


def _unanswered(sending: dict[str, Any]) -> int:
    count: int = sending["unanswered"]
    return count


def _continues(earlier: dict[str, Any], fresh: dict[str, Any]) -> bool:
    """Whether `earlier` is `fresh` with nothing but answers filled in."""
    parts, messages = earlier.get("parts"), earlier.get("messages")
    moved_to = earlier.get("moved_to")
    return (
        earlier.keys() == fresh.keys()
        and earlier["plan"] == fresh["plan"]
        and earlier["damaged"] is False
        and (moved_to is None or isinstance(moved_to, str))
        and type(earlier["not_before"]) is int
        and _fits(parts, fresh["parts"])
        and _fits(messages, fresh["messages"])
    )


def _fits(earlier: object, fresh: list[dict[str, Any]]) -> bool:
    return (
        isinstance(earlier, list)
        and len(earlier) == len(fresh)
        and all(
            isinstance(sending, dict)
            and sending | {"message_id": _UNSENT, "unanswered": 0} == expected
            and type(sending.get("message_id")) is int
            and type(sending.get("unanswered")) is int
            for sending, expected in zip(earlier, fresh, strict=True)
        )
    )
