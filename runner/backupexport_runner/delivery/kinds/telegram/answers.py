"""What an answer of the Bot API means (https://core.telegram.org/bots/api#making-requests)."""

from dataclasses import dataclass
from typing import Any

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import json_object

from backupexport_runner.task.failure import Failure, one_line

_LONGEST_DESCRIPTION = 300
_SECONDS_WITHOUT_A_WORD = 5
# With these a proxy says that it has passed the request on, or has not waited for its end.
_LOST = (408, 504)


@dataclass(frozen=True, slots=True)
class InChat:
    """It is in the chat; `size` is the document's in bytes, if Telegram tells it."""

    message_id: int
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Telegram wants the same request again after `seconds`."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Telegram wants the same request for another chat."""

    chat_id: str


class Unclear(Failure):
    """It may be in the chat or not; the same request is sent again, a few times.

    `is_lost` if only the answer may be lost, and not if nobody was reached or the server says that
    it failed: attempts go on after any outage, but must not send the same part for hours.
    """

    def __init__(self, exit_code: ExitCode, message: str, *, is_lost: bool = True) -> None:
        super().__init__(exit_code, message)
        self.is_lost = is_lost


class Refused(Failure):
    """It will never be in the chat, however often it is sent."""


Answer = InChat | Wait | Moved | Unclear | Refused


def read_answer(status: int, body: bytes) -> Answer:
    """Returns the meaning of an HTTP response."""
    fields = json_object(body)
    if status == 429:
        seconds = _parameters(fields or {}).get("retry_after")
        if type(seconds) is int and seconds > 0:
            return Wait(seconds)
        return Wait(_SECONDS_WITHOUT_A_WORD)
    if status == 413:
        return Refused(
            ExitCode.DELIVERY_REFUSED,
            "The Bot API server refuses documents of this size (413): lower partBytes, or use a "
            "Bot API server of your own.",
        )
    if status >= 500 or status == 408:
        return Unclear(
            ExitCode.DELIVERY_DEFERRED,
            f"The Bot API server has a problem of its own ({status}).",
            is_lost=status in _LOST,
        )
    if fields is None:
        return Unclear(
            ExitCode.DELIVERY_DEFERRED,
            f"What answers at apiUrl ({status}) doesn't speak the Bot API: check apiUrl, and the "
            "proxies on the way.",
        )
    if status == 200:
        return _success(fields)
    return _error(status, fields)


def _success(fields: dict[str, Any]) -> Answer:
    result = fields.get("result")
    if fields.get("ok") is not True or not isinstance(result, dict):
        return _malformed()
    message_id, document = result.get("message_id"), result.get("document")
    size = document.get("file_size") if isinstance(document, dict) else None
    if type(message_id) is not int or not (size is None or type(size) is int):
        return _malformed()
    return InChat(message_id, size)


def _error(status: int, fields: dict[str, Any]) -> Answer:
    moved_to = _parameters(fields).get("migrate_to_chat_id")
    if status == 400 and type(moved_to) is int:
        return Moved(str(moved_to))
    if status in (401, 404):
        return Refused(
            ExitCode.AUTHENTICATION_FAILED,
            f"The Bot API server doesn't know the bot ({status}): put the bot's current token "
            "into the delivery's Secret.",
        )
    if 300 <= status < 400:
        return _malformed()
    description = fields.get("description")
    said = description if isinstance(description, str) else "no description"
    words = one_line(said, _LONGEST_DESCRIPTION)
    return Refused(
        ExitCode.DELIVERY_REFUSED,
        f"Telegram refuses ({status}: {words}): check chat_id, and that the bot is in the chat "
        "and may send documents there.",
    )


def _malformed() -> Unclear:
    return Unclear(
        ExitCode.DELIVERY_DEFERRED,
        "The Bot API server's answer is not as the Bot API says: check apiUrl.",
    )


def _parameters(fields: dict[str, Any]) -> dict[str, Any]:
    parameters = fields.get("parameters")
    return parameters if isinstance(parameters, dict) else {}
