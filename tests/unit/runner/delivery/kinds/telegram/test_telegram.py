"""Deliveries to a Bot API server that takes nothing but what the Bot API takes."""

import contextlib
import errno
import io
import json
import logging
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.delivery.kinds.telegram import bot_api, sending
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runtime import volume
from bot_api_server import BotApiServer
from telegram_bench import CHAT, PART_BYTES, TOKEN, TelegramBench, joined

MOVED = "-100555"

Make = Callable[..., TelegramBench]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    directory = tmp_path / "kept"
    directory.mkdir()
    return directory


@pytest.fixture
def bot(kept: Path) -> Iterator[BotApiServer]:
    with BotApiServer(TOKEN, (CHAT, MOVED), largest=PART_BYTES, keep=kept) as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PAUSES", (0.01, 0.01))


@pytest.fixture
def make(tmp_path: Path, bot: BotApiServer) -> Make:
    def make(**options: Any) -> TelegramBench:
        return TelegramBench(tmp_path / "bench", bot.url, **options)

    return make


def _failure(bench: TelegramBench) -> Failure:
    with pytest.raises(Failure) as caught:
        bench.deliver()
    for text in (str(caught.value), bench.output.getvalue()):
        assert TOKEN not in text
    return caught.value


def _names(bot: BotApiServer) -> list[str]:
    return [document["name"].rpartition(".")[2] for document in bot.documents]


ALL = ["part001of003", "part002of003", "part003of003"]


def test_a_file_that_fits_is_one_document(make: Make, bot: BotApiServer) -> None:
    bench = make(size=PART_BYTES)
    assert bench.deliver() == "Sent to the Telegram chat (1.0 KiB)."
    (document,) = bot.received
    assert document["name"] == bench.file_name
    assert document["sha256"] == bench.sha256
    assert document["chat_id"] == CHAT
    assert bench.sha256 in document["caption"]


def test_a_larger_one_is_parts_and_a_message(make: Make, bot: BotApiServer, kept: Path) -> None:
    bench = make(storage_path="a/b")
    assert bench.deliver() == "Sent to the Telegram chat in 3 parts (2.5 KiB)."
    assert _names(bot) == ALL
    assert joined(bot.documents, kept) == bench.sha256
    assert bot.received[-1].get("text") == bot.texts[0]
    for document in bot.documents:
        assert f"{document['sha256']}  {document['name']}" in bot.texts[0]
        assert document["sha256"] in document["caption"]
    assert [line["part"] for line in bench.events("part_sent")] == [1, 2, 3]


def test_many_parts_have_several_messages(make: Make, bot: BotApiServer) -> None:
    make(size=60 * PART_BYTES).deliver()
    assert len(bot.documents) == 60
    assert len(bot.texts) == 3


def test_what_is_delivered_is_not_delivered_again(make: Make, bot: BotApiServer) -> None:
    bench = make()
    assert bench.deliver() == bench.deliver()
    assert len(bot.received) == 4


@pytest.mark.parametrize(
    "step",
    [
        {"fail": "429", "retry_after": 1},
        {"fail": "status", "status": 500},
        {"fail": "status", "status": 502, "body": "<html>"},
        {"fail": "garbage", "body": "<html>"},
        {"fail": "cut", "at": "headers"},
        {"fail": "cut", "at": "body"},
        {"fail": "cut", "at": "received"},
    ],
)
@pytest.mark.parametrize("request_number", [0, 2, 3])
def test_what_passes_is_tried_again(
    make: Make, bot: BotApiServer, kept: Path, step: dict[str, Any], request_number: int
) -> None:
    bench = make()
    bot.script = [{}] * request_number + [step]
    bench.deliver()
    assert bot.requests == 5
    assert _names(bot) == ALL
    assert len(bot.texts) == 1
    assert joined(bot.documents, kept) == bench.sha256


@pytest.mark.parametrize("at", ["answer", "half_answer"])
def test_a_part_whose_answer_is_lost_is_sent_again(
    make: Make, bot: BotApiServer, kept: Path, at: str
) -> None:
    bench = make()
    bot.script = [{}, {"fail": "cut", "at": at}]
    bench.deliver()
    assert _names(bot) == [ALL[0], ALL[1], ALL[1], ALL[2]]
    unique = {document["name"]: document for document in bot.documents}
    assert joined(list(unique.values()), kept) == bench.sha256


LOST: list[dict[str, Any]] = [
    {"fail": "lost", "status": 504, "body": "<html>"},
    {"fail": "lost", "status": 200, "body": "<html>"},
    {"fail": "cut", "at": "answer"},
    {"fail": "wrong_size"},
]


@pytest.mark.parametrize("step", LOST)
def test_a_part_whose_answer_is_always_lost_ends_it(
    make: Make, bot: BotApiServer, step: dict[str, Any]
) -> None:
    bench = make()
    bot.script = [{}, *[step] * 50]
    first = _failure(bench)
    assert first.exit_code in (ExitCode.DELIVERY_DEFERRED, ExitCode.CONNECTION_FAILED)
    for _ in range(2):
        last = _failure(bench)
        assert last.exit_code == ExitCode.DELIVERY_REFUSED
        assert "Part 2 was sent 5 times and Telegram's answer never arrived" in last.message
        assert _names(bot) == [ALL[0], *[ALL[1]] * 5]


@pytest.mark.parametrize("step", LOST[:3])
def test_a_message_whose_answer_is_always_lost_ends_it(
    make: Make, bot: BotApiServer, step: dict[str, Any]
) -> None:
    bench = make()
    bot.script = [{}, {}, {}, *[step] * 50]
    first = _failure(bench)
    assert first.exit_code in (ExitCode.DELIVERY_DEFERRED, ExitCode.CONNECTION_FAILED)
    for _ in range(2):
        last = _failure(bench)
        assert last.exit_code == ExitCode.DELIVERY_REFUSED
        assert "was sent 5 times and Telegram's answer never arrived" in last.message
        assert (_names(bot), len(bot.texts)) == (ALL, 5)


def test_an_outage_before_the_message_is_waited_out(make: Make, bot: BotApiServer) -> None:
    bench = make()
    bot.script = [{}, {}, {}, *[{"fail": "status", "status": 502}] * 3]
    assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    bench.api_url, url = "http://127.0.0.1:9", bench.api_url
    for _ in range(4):
        assert _failure(bench).exit_code == ExitCode.CONNECTION_FAILED
    bench.api_url = url
    bench.deliver()
    assert (_names(bot), len(bot.texts)) == (ALL, 1)


def test_each_part_has_a_count_of_its_own(make: Make, bot: BotApiServer) -> None:
    bench = make()
    bot.script = [*[LOST[0]] * 2, {}] * 3
    bench.deliver()
    assert _names(bot) == [name for name in ALL for _ in range(3)]


@pytest.mark.parametrize(
    "step",
    [
        {"fail": "status", "status": 500},
        {"fail": "status", "status": 502, "body": "<html>"},
        {"fail": "status", "status": 503},
    ],
)
def test_an_outage_is_waited_out(make: Make, bot: BotApiServer, step: dict[str, Any]) -> None:
    bench = make()
    bot.script = [step] * 12
    for _ in range(4):
        assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    bench.deliver()
    assert _names(bot) == ALL


def test_nobody_at_the_address_never_ends_it(make: Make, bot: BotApiServer) -> None:
    bench = make()
    bot.script = [{}, *[LOST[0]] * 3]
    assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    bench.api_url, url = "http://127.0.0.1:9", bench.api_url
    for _ in range(3):
        assert _failure(bench).exit_code == ExitCode.CONNECTION_FAILED
    bench.api_url = url
    bench.deliver()


class Clock:
    """A wall clock that a pause moves on at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.5
        self.paused: list[float] = []
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(sending.Sender, "_pause", lambda _, seconds: self._pass(seconds))

    def _pass(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now += seconds


def test_a_long_pause_is_kept_by_the_attempts_that_follow(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, bench = Clock(monkeypatch), make()
    bot.script = [{}, {"fail": "429", "retry_after": 3000}]
    assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    clock.now += 2000
    failure = _failure(bench)
    assert (failure.exit_code, clock.paused) == (ExitCode.DELIVERY_DEFERRED, [])
    assert "1001 seconds" in failure.message
    assert bot.requests == 2
    clock.now += 500
    bench.deliver()
    assert clock.paused == [500.5]
    assert _names(bot) == ALL
    bench.deliver()
    assert clock.paused == [500.5]


def test_pauses_add_up(make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, bench = Clock(monkeypatch), make()
    bot.script = [{"fail": "429", "retry_after": 600}] * 2
    failure = _failure(bench)
    assert (failure.exit_code, clock.paused) == (ExitCode.DELIVERY_DEFERRED, [600])
    assert "600 seconds" in failure.message


def test_a_pause_that_a_restart_cuts_short_goes_on(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, bench = Clock(monkeypatch), make()
    bot.script = [{}, {"fail": "429", "retry_after": 60}]
    with monkeypatch.context() as patch:
        patch.setattr(sending.Sender, "_pause", lambda *_: bench.interruption.request())
        assert _failure(bench).exit_code == ExitCode.INTERRUPTED
    bench.interruption = Interruption()
    clock.now += 20
    bench.deliver()
    assert clock.paused == [40.5]
    assert _names(bot) == ALL


def test_a_pause_without_end_needs_no_more_room(make: Make, bot: BotApiServer) -> None:
    bench = make()
    dead = {"fail": "status", "status": 500}
    bot.script = [dead, dead, dead, {"fail": "429", "retry_after": 10**30}]
    _failure(bench)
    size = bench.journal.stat().st_size
    assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    assert bench.journal.stat().st_size <= size
    assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    assert bot.requests == 4


def test_a_document_of_another_size_is_a_failed_one(make: Make, bot: BotApiServer) -> None:
    bot.script = [{"fail": "wrong_size"}]
    make().deliver()
    assert _names(bot) == [ALL[0], *ALL]


@pytest.mark.parametrize(
    ("step", "exit_code"),
    [
        ({"fail": "status", "status": 503}, ExitCode.DELIVERY_DEFERRED),
        ({"fail": "garbage", "body": "[]"}, ExitCode.DELIVERY_DEFERRED),
        ({"fail": "cut", "at": "body"}, ExitCode.CONNECTION_FAILED),
        ({"fail": "cut", "at": "received"}, ExitCode.CONNECTION_FAILED),
        ({"fail": "wrong_size"}, ExitCode.DELIVERY_DEFERRED),
    ],
)
def test_what_stays_is_for_a_later_attempt_which_goes_on(
    make: Make, bot: BotApiServer, kept: Path, step: dict[str, Any], exit_code: ExitCode
) -> None:
    bench = make()
    bot.script = [{}, step, step, step]
    assert _failure(bench).exit_code == exit_code
    bot.script.clear()
    before = len(bot.documents)
    bench.deliver()
    assert _names(bot)[before:] == ALL[1:]
    assert joined(list({d["name"]: d for d in bot.documents}.values()), kept) == bench.sha256


@pytest.mark.parametrize(
    ("step", "exit_code", "words"),
    [
        ({"status": 403, "description": "Forbidden: bot was kicked"}, 31, "bot was kicked"),
        ({"status": 413, "description": "Request Entity Too Large"}, 31, "lower partBytes"),
        ({"status": 413, "early": True}, 31, "lower partBytes"),
        ({"status": 401, "description": "Unauthorized"}, 23, "token"),
        ({"status": 400, "description": f"odd {TOKEN}"}, 31, "odd"),
    ],
)
def test_refusals_end_it_at_once(
    make: Make, bot: BotApiServer, step: dict[str, Any], exit_code: int, words: str
) -> None:
    bench = make()
    bot.script = [{"fail": "status", **step}]
    with pytest.raises(Failure) as caught:
        bench.deliver()
    assert caught.value.exit_code == exit_code
    assert words in caught.value.message
    assert bot.requests == 1
    assert bot.received == []


def test_a_document_over_the_servers_limit_is_refused(make: Make) -> None:
    assert "lower partBytes" in _failure(make(part_bytes=2 * PART_BYTES)).message


@pytest.mark.parametrize("token", ["1:another", "123456789:AAcanary-Token_of_the_boT"])
def test_a_bad_token_is_told(make: Make, token: str, bot: BotApiServer) -> None:
    failure = _failure(make(token=token))
    assert failure.exit_code == ExitCode.AUTHENTICATION_FAILED
    assert token not in failure.message
    assert bot.received == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token", "no token"),
        ("token", f"{TOKEN}/../x"),
        ("token", f"{TOKEN}\r\nHost: x"),
        ("token", ""),
        ("chat_id", "my chat"),
        ("chat_id", "-"),
        ("chat_id", "@a\nb"),
        ("chat_id", ""),
    ],
)
def test_a_secret_of_a_wrong_shape_is_told_without_its_value(
    make: Make, bot: BotApiServer, key: str, value: str
) -> None:
    failure = _failure(make(**{key: value}))
    assert failure.exit_code == ExitCode.SECRET_INVALID
    assert key in failure.message
    assert not value or value not in failure.message
    assert bot.requests == 0


def test_the_chat_is_hidden_in_what_is_told(make: Make, bot: BotApiServer) -> None:
    scrubber = Scrubber()
    bench = make()
    bench.attempt(Log(scrubber, bench.output))
    assert scrubber.clean(f"chat {CHAT} of {TOKEN}") == "chat [hidden] of [hidden]"


def test_an_unknown_chat_is_refused_in_telegrams_words(make: Make) -> None:
    failure = _failure(make(chat_id="-1"))
    assert failure.exit_code == ExitCode.DELIVERY_REFUSED
    assert "chat not found" in failure.message


def test_a_chat_that_moved_is_followed_also_by_a_later_attempt(
    make: Make, bot: BotApiServer
) -> None:
    bench = make()
    dead = {"fail": "status", "status": 500}
    bot.script = [{}, {"fail": "migrate", "chat_id": int(MOVED)}, {}, dead, dead, dead]
    assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    bench.deliver()
    assert [message["chat_id"] for message in bot.received] == [CHAT, MOVED, MOVED, MOVED]
    assert _names(bot) == ALL


def test_a_chat_that_moves_on_and_on_is_not_followed(make: Make, bot: BotApiServer) -> None:
    bot.script = [{"fail": "migrate", "chat_id": -number} for number in range(1, 9)]
    assert _failure(make()).exit_code == ExitCode.DELIVERY_DEFERRED
    assert bot.requests == 2


def test_a_redirect_is_not_followed(make: Make, bot: BotApiServer) -> None:
    with BotApiServer(TOKEN, (CHAT,)) as other:
        bot.script = [{"fail": "redirect", "location": f"{other.url}/bot{TOKEN}/sendDocument"}] * 9
        assert _failure(make()).exit_code == ExitCode.DELIVERY_DEFERRED
        assert other.requests == 0


def test_the_token_is_in_no_record_of_any_logger(
    make: Make, bot: BotApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bot.script = [{"fail": "cut", "at": "body"}]
    make().deliver()
    assert TOKEN not in caplog.text


def test_proxies_of_the_environment_are_not_used(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    make().deliver()


def test_nobody_at_the_address(make: Make, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bench = TelegramBench(tmp_path / "nobody", f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert _failure(bench).exit_code == ExitCode.CONNECTION_FAILED


@pytest.mark.parametrize("host", ["a" * 70, "xn--a.example", "\u2100.example"])
def test_a_host_that_none_can_be(tmp_path: Path, host: str) -> None:
    bench = TelegramBench(tmp_path, f"http://{host}")
    exit_code = _failure(bench).exit_code
    assert exit_code in (ExitCode.DELIVERY_REFUSED, ExitCode.CONNECTION_FAILED)


def test_a_silent_server_is_a_failed_connection(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_api, "_ANSWER_SECONDS", 0.1)
    bot.script = [{"fail": "slow", "seconds": 1}] * 3
    failure = _failure(make())
    assert failure.exit_code == ExitCode.CONNECTION_FAILED
    assert "in time" in failure.message


def test_a_server_that_is_no_tls_server(tmp_path: Path, bot: BotApiServer) -> None:
    bench = TelegramBench(tmp_path / "tls", bot.url.replace("http:", "https:"))
    assert _failure(bench).exit_code == ExitCode.CONNECTION_FAILED


@pytest.mark.parametrize("pem", ["none", "-----BEGIN CERTIFICATE-----\nAAAA\n", "é", " "])
def test_certificates_that_are_none(make: Make, pem: str) -> None:
    failure = _failure(make(more={"caCertificates": pem}))
    assert failure.exit_code == ExitCode.DELIVERY_REFUSED
    assert "no certificate in PEM" in failure.message


def test_too_many_parts_are_refused_before_anything_is_sent(make: Make, bot: BotApiServer) -> None:
    failure = _failure(make(size=1000 * 1024 + 1, part_bytes=1024))
    assert failure.exit_code == ExitCode.DELIVERY_REFUSED
    assert "1001 parts" in failure.message
    assert bot.requests == 0


def _replace_by_link(bench: TelegramBench) -> None:
    bench.file.rename(bench.root / "elsewhere")
    bench.file.symlink_to(bench.root / "elsewhere")


def _replace_by_second_name(bench: TelegramBench) -> None:
    other = bench.root / "of another project"
    bench.file.rename(other)
    bench.file.hardlink_to(other)


def _replace_by_pipe(bench: TelegramBench) -> None:
    bench.file.unlink()
    os.mkfifo(bench.file)


def _replace_by_directory(bench: TelegramBench) -> None:
    bench.file.unlink()
    bench.file.mkdir()


def _replace_directory_by_link(bench: TelegramBench) -> None:
    bench.directory.rename(bench.root / "elsewhere")
    bench.directory.symlink_to(bench.root / "elsewhere")


def _swap_content(bench: TelegramBench) -> None:
    bench.file.write_bytes(b"x" * bench.size)


SWAPS: list[Callable[[TelegramBench], object]] = [
    lambda bench: bench.file.unlink(),
    lambda bench: os.truncate(bench.file, bench.size - 1),
    lambda bench: os.truncate(bench.file, bench.size + 1),
    _replace_by_link,
    _replace_by_second_name,
    _replace_by_pipe,
    _replace_by_directory,
    _replace_directory_by_link,
    _swap_content,
]


@pytest.mark.parametrize("swap", SWAPS)
def test_another_file_is_never_sent(
    make: Make, bot: BotApiServer, swap: Callable[[TelegramBench], object]
) -> None:
    bench = make(storage_path="a")
    swap(bench)
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert bot.requests == 0


def test_a_file_swapped_between_two_attempts_is_told_in_the_chat(
    make: Make, bot: BotApiServer
) -> None:
    bench = make()
    dead = {"fail": "status", "status": 500}
    bot.script = [{}, dead, dead, dead]
    _failure(bench)
    _swap_content(bench)
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert len(bot.documents) == 1
    assert "Don't use the parts" in bot.texts[0]
    assert not bench.journal.exists()


def test_a_file_that_is_gone_is_not_called_changed(make: Make, bot: BotApiServer) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    bench.file.unlink()
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    (text,) = bot.texts
    assert "1 of 3 were sent" in text
    assert "Don't use" not in text
    assert not bench.journal.exists()


def test_nothing_is_said_of_a_file_that_is_gone_after_all_was_sent(
    make: Make, bot: BotApiServer
) -> None:
    bench = make()
    bench.deliver()
    bench.file.unlink()
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert len(bot.received) == 4
    assert bench.journal.exists()


def test_a_damaged_part_is_told_also_where_the_file_is_gone_by_then(
    make: Make, bot: BotApiServer
) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    notes = json.loads(bench.journal.read_text())
    bench.journal.write_text(json.dumps(notes | {"damaged": True}))
    bench.file.unlink()
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert "Don't use the parts" in bot.texts[0]


@pytest.mark.parametrize(
    "step",
    [
        {"fail": "status", "status": 502},
        {"fail": "429", "retry_after": 5},
        {"fail": "cut", "at": "received"},
    ],
)
def test_a_chat_that_could_not_be_told_is_told_by_a_later_attempt(
    make: Make, bot: BotApiServer, step: dict[str, Any]
) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    _swap_content(bench)
    bot.script = [step]
    assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    assert bench.journal.exists()
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert len(bot.texts) == 1
    assert not bench.journal.exists()


def test_a_chat_that_cannot_be_told_is_in_the_log(make: Make, bot: BotApiServer) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    _swap_content(bench)
    bot.script = [{"fail": "status", "status": 403, "description": "Forbidden: bot was kicked"}]
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert "bot was kicked" in bench.events("chat_not_told")[0]["message"]


@pytest.mark.parametrize("swap", [_swap_content, lambda bench: os.truncate(bench.file, 1)])
def test_a_file_swapped_while_it_is_sent_is_told_in_the_chat(
    make: Make,
    bot: BotApiServer,
    monkeypatch: pytest.MonkeyPatch,
    swap: Callable[[TelegramBench], object],
) -> None:
    bench = make()
    send = bot_api.BotApi.send_document

    def swapped(api: bot_api.BotApi, chat_id: str, name: str, *rest: Any) -> Any:
        if "part002" in name:
            swap(bench)
        return send(api, chat_id, name, *rest)

    monkeypatch.setattr(bot_api.BotApi, "send_document", swapped)
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert ALL[2] not in _names(bot)
    assert "Don't use the parts" in bot.texts[0]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_nothing_is_sent_where_it_cannot_be_noted(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    bench = make()
    real = getattr(os, call)

    def refuse(*arguments: Any, **options: Any) -> Any:
        if call == "open" and not str(arguments[0]).endswith(".new"):
            return real(*arguments, **options)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        failure = _failure(bench)
    assert failure.exit_code == ExitCode.DELIVERY_DEFERRED
    assert os.strerror(number) in failure.message
    assert bot.requests == 0
    bench.deliver()
    assert _names(bot) == ALL


def test_nothing_is_sent_where_only_one_note_has_room(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    real = os.write

    def write(file: int, data: Any) -> int:
        # A volume with room for one file.
        if bench.journal.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    assert bot.requests == 0
    bench.deliver()
    assert _names(bot) == ALL


def _refuse_open(bench: TelegramBench, patch: pytest.MonkeyPatch, number: int) -> None:
    real = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == bench.journal.name:
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **options)

    patch.setattr(os, "open", refuse)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE])
def test_a_journal_that_cannot_be_opened_is_not_none(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    before = bench.journal.read_bytes()
    with monkeypatch.context() as patch:
        _refuse_open(bench, patch, number)
        failure = _failure(bench)
    assert failure.exit_code == ExitCode.DELIVERY_DEFERRED
    assert os.strerror(number) in failure.message
    assert (bot.received, bench.journal.read_bytes()) == ([], before)
    bench.deliver()
    assert _names(bot) == ALL[1:]


def test_a_journal_that_cannot_be_read_is_not_none(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    fdopen = os.fdopen

    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    @contextlib.contextmanager
    def broken(file: int, *_: Any) -> Iterator[Any]:
        with fdopen(file, "rb"):
            yield Broken()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", broken)
        assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    bench.deliver()
    assert _names(bot) == ALL[1:]


def test_a_chat_is_told_of_damage_once_the_journal_can_be_read(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    _swap_content(bench)
    with monkeypatch.context() as patch:
        _refuse_open(bench, patch, errno.EIO)
        assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
    assert _failure(bench).exit_code == ExitCode.FILE_MISSING
    assert "Don't use the parts" in bot.texts[0]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_volume_that_fails_does_not_ask_for_another_export(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bench = make()

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(volume, "open_directory", refuse)
    failure = _failure(bench)
    assert failure.exit_code == ExitCode.DELIVERY_DEFERRED
    assert "start the export again" not in failure.message
    assert bot.requests == 0


@pytest.mark.parametrize("replace", [os.mkfifo, lambda path: path.mkdir()])
def test_what_is_no_file_is_no_journal(
    make: Make, bot: BotApiServer, replace: Callable[[Path], object]
) -> None:
    bench = make()
    replace(bench.journal)
    if bench.journal.is_dir():
        # It can't be replaced by a file either, and that is told before anything is sent.
        assert _failure(bench).exit_code == ExitCode.DELIVERY_DEFERRED
        assert bot.requests == 0
    else:
        bench.deliver()
        assert _names(bot) == ALL


def test_a_journal_has_its_size_from_the_first(make: Make, bot: BotApiServer) -> None:
    bench = make()
    dead = {"fail": "status", "status": 500}
    bot.script = [dead, dead, dead]
    _failure(bench)
    first = bench.journal.stat().st_size
    bench.deliver()
    assert bench.journal.stat().st_size <= first
    assert TOKEN not in bench.journal.read_text()
    assert CHAT not in bench.journal.read_text()


def _one_part_sent(bench: TelegramBench, bot: BotApiServer) -> None:
    dead = {"fail": "status", "status": 500}
    bot.script = [{}, dead, dead, dead]
    _failure(bench)
    bot.received.clear()


def test_another_chat_begins_anew(make: Make, bot: BotApiServer) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    bench.chat_id = MOVED
    bench.deliver()
    assert _names(bot) == ALL


def test_another_part_size_begins_anew(make: Make, bot: BotApiServer, kept: Path) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    bench.part_bytes = PART_BYTES - 1
    bench.deliver()
    assert _names(bot) == ALL
    assert joined(bot.documents, kept) == bench.sha256


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"plan": null, "moved_to": 7, "parts": 1, "messages": {}, "damaged": 0}',
        b"[" * 100_000,
    ],
)
def test_a_broken_journal_is_none(make: Make, bot: BotApiServer, content: bytes) -> None:
    bench = make()
    bench.journal.write_bytes(content)
    bench.deliver()
    assert _names(bot) == ALL


@pytest.mark.parametrize(
    "change",
    [
        lambda notes: notes["parts"][0].update(sha256="0"),
        lambda notes: notes["parts"][0].update(message_id="1"),
        lambda notes: notes["parts"][0].update(unanswered="1"),
        lambda notes: notes["parts"][0].pop("unanswered"),
        lambda notes: notes["parts"].pop(),
        lambda notes: notes["messages"].append(dict(notes["messages"][0])),
        lambda notes: notes.update(messages=[-1]),
        lambda notes: notes["messages"][0].update(unanswered=True),
        lambda notes: notes.update(moved_to=7),
        lambda notes: notes.update(not_before="7"),
        lambda notes: notes.pop("damaged"),
    ],
)
def test_a_journal_of_another_plan_is_none(
    make: Make, bot: BotApiServer, change: Callable[[dict[str, Any]], object]
) -> None:
    bench = make()
    _one_part_sent(bench, bot)
    notes = json.loads(bench.journal.read_text())
    change(notes)
    bench.journal.write_text(json.dumps(notes))
    bench.deliver()
    assert _names(bot) == ALL


def test_a_link_in_the_journals_place_is_replaced(make: Make, tmp_path: Path) -> None:
    bench = make()
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for path in (bench.journal, bench.journal.with_name(f"{bench.journal.name}.new")):
        path.symlink_to(victim)
    bench.deliver()
    assert victim.read_text() == "untouched"
    assert not bench.journal.is_symlink()


@pytest.mark.parametrize(
    "step", [{"fail": "429", "retry_after": 60}, {"fail": "status", "status": 500}]
)
def test_a_stop_ends_a_pause_at_once(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch, step: dict[str, Any]
) -> None:
    monkeypatch.setattr(sending, "PAUSES", (60.0,))
    bench = make()
    bot.script = [step]
    raised: list[Failure] = []

    def deliver() -> None:
        raised.append(_failure(bench))

    thread = threading.Thread(target=deliver)
    thread.start()
    while not bench.output.getvalue().count("again" if "status" in step else "waiting"):
        threading.Event().wait(0.01)
    bench.interruption.request()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert raised[0].exit_code == ExitCode.INTERRUPTED


def test_a_stop_ends_reading(make: Make, bot: BotApiServer) -> None:
    bench = make()
    bench.interruption.request()
    assert _failure(bench).exit_code == ExitCode.INTERRUPTED
    assert bot.requests == 0


def test_tls_with_certificates_of_ones_own(
    make: Make, bot: BotApiServer, tls_files: tuple[str, Path, Path]
) -> None:
    pem, certificate, key = tls_files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    bot.http.socket = context.wrap_socket(bot.http.socket, server_side=True)
    bench = make(more={"caCertificates": f"# AC Raíz\n{pem}"})
    bench.api_url = bot.url.replace("http:", "https:")
    bench.deliver()
    assert _names(bot) == ALL
    bench.more.clear()
    bench.part_bytes -= 1
    failure = _failure(bench)
    assert failure.exit_code == ExitCode.CONNECTION_FAILED
    assert "isn't trusted" in failure.message


def test_messages_go_on_after_the_last_that_was_answered(make: Make, bot: BotApiServer) -> None:
    bench = make(size=60 * PART_BYTES)
    dead = {"fail": "status", "status": 500}
    bot.script = [{}] * 61 + [dead, dead, dead]
    _failure(bench)
    assert (len(bot.documents), len(bot.texts)) == (60, 1)
    bench.deliver()
    assert (len(bot.documents), len(set(bot.texts)), len(bot.texts)) == (60, 3, 3)


def test_every_answer_is_on_the_disk_before_the_next_request(
    make: Make, bot: BotApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    calls: list[str] = []
    fsync, rename, post = os.fsync, os.rename, bot_api.BotApi._post

    def noted_fsync(descriptor: int) -> None:
        calls.append("sync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync")
        fsync(descriptor)

    def noted_rename(*arguments: Any, **options: Any) -> None:
        # The server renames, too.
        if "src_dir_fd" in options:
            calls.append("rename")
        rename(*arguments, **options)

    def noted_post(*arguments: Any) -> Any:
        calls.append("request")
        return post(*arguments)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    monkeypatch.setattr(bot_api.BotApi, "_post", noted_post)
    bench.deliver()
    note = ["sync", "rename", "sync directory"]
    assert calls == note * 2 + ["request", *note] * 4
