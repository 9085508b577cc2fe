"""What the Bot API's answers mean."""

import json

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.delivery.kinds.telegram.answers import (
    Answer,
    InChat,
    Moved,
    Refused,
    Unclear,
    Wait,
    read_answer,
)


def _error(code: int, description: str = "no", **parameters: int) -> bytes:
    fields = {"ok": False, "error_code": code, "description": description}
    return json.dumps(fields | ({"parameters": parameters} if parameters else {})).encode()


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, b'{"ok":true,"result":{"message_id":7}}', InChat(7)),
        (200, b'{"ok":true,"result":{"message_id":7,"document":{"file_size":9}}}', InChat(7, 9)),
        (429, _error(429, retry_after=3), Wait(3)),
        (429, b"<html>", Wait(5)),
        (429, _error(429, retry_after=-1), Wait(5)),
        (400, _error(400, migrate_to_chat_id=-1009), Moved("-1009")),
    ],
)
def test_answers_that_send_on(status: int, body: bytes, meaning: Answer) -> None:
    assert read_answer(status, body) == meaning


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (200, b"[]"),
        (200, b"\xff"),
        (200, b'{"ok":false}'),
        (200, b'{"ok":"true","result":{"message_id":7}}'),
        (200, b'{"ok":true,"result":{"message_id":true}}'),
        (200, b'{"ok":true,"result":{"message_id":7,"document":{"file_size":"9"}}}'),
        (200, b'{"ok":true,"result":[]}'),
        (302, b"{}"),
        (307, b""),
        (404, b"<html>nginx</html>"),
        (500, _error(500)),
        (502, b"<html>"),
        (408, b""),
    ],
)
def test_answers_that_say_nothing_are_for_another_try(status: int, body: bytes) -> None:
    answer = read_answer(status, body)
    assert isinstance(answer, Unclear)
    assert answer.exit_code is ExitCode.DELIVERY_DEFERRED


@pytest.mark.parametrize(
    ("status", "body", "exit_code", "words"),
    [
        (401, _error(401, "Unauthorized"), ExitCode.AUTHENTICATION_FAILED, "current token"),
        (404, _error(404, "Not Found"), ExitCode.AUTHENTICATION_FAILED, "current token"),
        (400, _error(400, "chat not found"), ExitCode.DELIVERY_REFUSED, "chat not found"),
        (403, _error(403, "bot was\nkicked\x1b"), ExitCode.DELIVERY_REFUSED, "bot was kicked)"),
        (403, b"{}", ExitCode.DELIVERY_REFUSED, "no description"),
        (413, b"<html>", ExitCode.DELIVERY_REFUSED, "lower partBytes"),
        (413, _error(413), ExitCode.DELIVERY_REFUSED, "lower partBytes"),
    ],
)
def test_answers_that_end_it(status: int, body: bytes, exit_code: ExitCode, words: str) -> None:
    answer = read_answer(status, body)
    assert isinstance(answer, Refused)
    assert answer.exit_code is exit_code
    assert words in answer.message
