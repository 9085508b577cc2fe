"""The tests' Bot API server refuses what the Bot API refuses, or never was a multipart form."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from bot_api_server import BotApiServer

TOKEN = "1:token"
CHAT = "-100"
HEAD = f"POST /bot{TOKEN}/sendDocument HTTP/1.1\r\nHost: x\r\nContent-Type: "
FORM = "multipart/form-data; boundary=xyz\r\n"

GOOD = (
    "--xyz\r\n"
    'Content-Disposition: form-data; name="chat_id"\r\n'
    "\r\n"
    "-100\r\n"
    "--xyz\r\n"
    'Content-Disposition: form-data; name="document"; filename="a"\r\n'
    "Content-Type: application/octet-stream\r\n"
    "\r\n"
    "\r\n--xy\r\n"
    "\r\n"
    "--xyz--\r\n"
)
CAPTION = '--xyz\r\nContent-Disposition: form-data; name="caption"\r\n\r\n{}\r\n'


@pytest.fixture
def bot() -> Iterator[BotApiServer]:
    with BotApiServer(TOKEN, (CHAT,), largest=1000) as server:
        yield server


def _send(bot: BotApiServer, text: str) -> tuple[int, dict[str, Any]]:
    with socket.create_connection(("127.0.0.1", bot.http.server_port), timeout=60) as connection:
        connection.sendall(text.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def _post(bot: BotApiServer, body: str, content_type: str = FORM) -> tuple[int, dict[str, Any]]:
    return _send(bot, f"{HEAD}{content_type}Content-Length: {len(body)}\r\n\r\n{body}")


def test_a_form_is_taken_with_a_length_and_in_chunks(bot: BotApiServer) -> None:
    assert _post(bot, GOOD)[0] == 200
    chunks = "".join(f"{len(part):x}\r\n{part}\r\n" for part in (GOOD[:9], GOOD[9:150], GOOD[150:]))
    status, answer = _send(bot, f"{HEAD}{FORM}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    assert (status, answer["result"]["message_id"]) == (200, 2)
    assert [document["size"] for document in bot.documents] == [8, 8]


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("--xyz--\r\n", "--xyz--", 400),
        ("--xyz--\r\n", "--xyz--\r\nmore", 400),
        ("--xyz--\r\n", "--xyz\r\n", 400),
        ("--xyz--\r\n", "", 400),
        ("\r\n--xyz\r\n", "\n--xyz\n", 400),
        ('; name="chat_id"', "", 400),
        ('name="chat_id"', "name=chat_id", 400),
        ('name="chat_id"', 'name="chat"', 400),
        ('"chat_id"\r\n', '"chat_id"\r\nContent-Disposition: form-data; name="x"\r\n', 400),
        ("-100", "-1", 400),
        ("-100", "", 400),
        ('name="document"', 'name="file"', 400),
        ('; filename="a"', "", 400),
        ('filename="a"', 'filename=""', 400),
        ("\r\n--xy\r\n", "x" * 1001, 413),
        ("\r\n\r\n--xy\r\n\r\n", "\r\n\r\n", 400),
    ],
)
def test_what_is_no_such_form_is_refused(
    bot: BotApiServer, old: str, new: str, status: int
) -> None:
    assert old in GOOD
    answer = _post(bot, GOOD.replace(old, new, 1))
    assert (answer[0], answer[1]["ok"], answer[1]["error_code"]) == (status, False, status)
    assert bot.received == []


@pytest.mark.parametrize(
    ("before", "status"),
    [
        (CAPTION.format("x" * 1024), 200),
        (CAPTION.format("x" * 1025), 400),
        (CAPTION.format("x") * 2, 400),
        (CAPTION.format("x").replace("caption", "captoin"), 400),
        (CAPTION.format("yes").replace("caption", "disable_content_type_detection"), 400),
    ],
)
def test_captions_and_fields(bot: BotApiServer, before: str, status: int) -> None:
    assert _post(bot, before + GOOD)[0] == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/bot1:other/sendDocument", 401),
        ("/bottoken/sendDocument", 404),
        ("/sendDocument", 404),
        (f"/bot{TOKEN}/sendNothing", 404),
    ],
)
def test_another_path_is_another_answer(bot: BotApiServer, path: str, status: int) -> None:
    request = f"{HEAD}{FORM}Content-Length: {len(GOOD)}\r\n\r\n{GOOD}"
    answer = _send(bot, request.replace(f"/bot{TOKEN}/sendDocument", path))
    assert (answer[0], answer[1]["error_code"]) == (status, status)


@pytest.mark.parametrize(("length", "status"), [(4096, 200), (4097, 400), (0, 400)])
def test_the_length_of_a_message(bot: BotApiServer, length: int, status: int) -> None:
    body = f"chat_id=-100&text={'x' * length}"
    request = (
        f"{HEAD}application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    assert _send(bot, request.replace("sendDocument", "sendMessage"))[0] == status


def test_it_is_scripted_and_asked_over_http(bot: BotApiServer) -> None:
    script = '[{"fail": "429", "retry_after": 1}]'
    _send(
        bot,
        "POST /control/script HTTP/1.1\r\nHost: x\r\n"
        f"Content-Length: {len(script)}\r\n\r\n{script}",
    )
    status, answer = _post(bot, GOOD)
    assert (status, answer["parameters"]) == (429, {"retry_after": 1})
    assert _post(bot, GOOD)[0] == 200
    status, received = _send(bot, "GET /control/received HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (status, len(received)) == (200, 1)
