"""Sends parts and messages, again if that helps, and notes every answer."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from backupexport_contract.reasons import ExitCode

from backupexport_runner.delivery.kinds.telegram import answers
from backupexport_runner.delivery.kinds.telegram.bot_api import BotApi
from backupexport_runner.delivery.kinds.telegram.journal import Journal, Sending
from backupexport_runner.delivery.kinds.telegram.parts import Part, PartView
from backupexport_runner.storage.failures import file_changed
from backupexport_runner.storage.interface import Reader
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import Log

# Seconds between tries after an unclear answer; after the last a later attempt goes on.
PAUSES = (1.0, 3.0, 9.0)
# A later attempt waits out a longer pause: this Job would only hold its memory.
LONGEST_WAIT_SECONDS = 900
# How often something is sent whose answer is lost each time; it may be in the chat as often.
MOST_UNANSWERED = 5
_SECONDS_TO_NOTICE = 0.2

_PART_NEVER_ANSWERED = (
    "Part {} was sent {} times and Telegram's answer never arrived: look into the chat, where it "
    "may be as often, and find out what on the way to apiUrl cuts long requests; a lower partBytes "
    "makes them shorter."
)
_MESSAGE_NEVER_ANSWERED = (
    "All parts are in the chat, but the message that says how to join them was sent "
    f"{MOST_UNANSWERED} times and Telegram's answer never arrived: look into the chat, where it "
    "may be as often, and find out what on the way to apiUrl keeps answers back."
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends to one chat, and notes in the journal what it has."""

    api: BotApi
    chat_id: str
    journal: Journal
    log: Log
    check: Callable[[], None]

    def wait_out(self) -> None:
        """Waits for the end of a pause that an earlier attempt was asked for.  Raises Failure."""
        left = self.journal.not_before - time.time()
        if left > 0:
            self._wait(left, left)

    def send_part(self, file: Reader, part: Part, sha256: str, caption: str) -> None:
        """Sends the part and notes it.  Raises Failure if it isn't in the chat, or is damaged."""
        view = PartView(file, part, self.check)

        def send(chat_id: str) -> answers.Answer:
            view.seek(0)
            return self.api.send_document(chat_id, part.name, view, part.size, caption)

        sending = self.journal.part(part.number)
        never_answered = _PART_NEVER_ANSWERED.format(part.number, MOST_UNANSWERED)
        in_chat = self._send(send, sending, never_answered)
        if view.sha256 != sha256:
            self.journal.note_damage(part.number, in_chat.message_id)
            raise file_changed()
        sending.note_answer(in_chat.message_id)

    def send_message(self, index: int, text: str) -> None:
        """Sends the message that comes `index`-th after the parts, and notes it."""
        sending = self.journal.message(index)
        in_chat = self._send(
            lambda chat_id: self.api.send_message(chat_id, text), sending, _MESSAGE_NEVER_ANSWERED
        )
        sending.note_answer(in_chat.message_id)

    def _send(
        self, send: Callable[[str], answers.Answer], sending: Sending, never_answered: str
    ) -> answers.InChat:
        """Sends until it is in the chat.  Raises Failure."""
        pauses = iter(PAUSES)
        waited = 0
        while True:
            self.check()
            answer = self._try(send, sending, never_answered)
            match answer:
                case answers.InChat():
                    return answer
                case answers.Refused():
                    raise answer
                case answers.Moved():
                    self._follow(answer)
                case answers.Wait():
                    self.journal.note_pause(math.ceil(time.time()) + answer.seconds)
                    waited += answer.seconds
                    self._wait(answer.seconds, waited)
                case answers.Unclear():
                    pause = next(pauses, None)
                    if pause is None:
                        raise answer
                    self.log.event("sending_again", seconds=pause, message=answer.message)
                    self._pause(pause)

    def _try(
        self, send: Callable[[str], answers.Answer], sending: Sending, never_answered: str
    ) -> answers.Answer:
        if sending.unanswered < MOST_UNANSWERED:
            answer = send(self.journal.moved_to or self.chat_id)
            if not (isinstance(answer, answers.Unclear) and answer.is_lost):
                return answer
            sending.note_lost_answer()
            if sending.unanswered < MOST_UNANSWERED:
                return answer
        return answers.Refused(ExitCode.DELIVERY_REFUSED, never_answered)

    def _follow(self, moved: answers.Moved) -> None:
        if moved.chat_id == self.chat_id or self.journal.moved_to is not None:
            # A group becomes a supergroup once.
            raise Failure(
                ExitCode.DELIVERY_DEFERRED,
                "Telegram sends from chat to chat: put the chat's current chat_id into the "
                "delivery's Secret.",
            )
        self.log.event("chat_moved")
        self.journal.note_move(moved.chat_id)

    def _wait(self, seconds: float, in_all: float) -> None:
        if in_all > LONGEST_WAIT_SECONDS:
            raise Failure(
                ExitCode.DELIVERY_DEFERRED,
                f"Telegram asks for a pause of {math.ceil(seconds)} seconds.",
            )
        self.log.event("waiting_for_telegram", seconds=math.ceil(seconds))
        self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _SECONDS_TO_NOTICE))
