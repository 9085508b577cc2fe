"""Following a job over a stream that ends, breaks, lies, or is not there."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service import events
from backupexport_cli.service.http import ApiHttp, GivenToken
from backupexport_cli.service.rest import RestExports
from cli_jobs import JOB_ID, job, progress

Stream = Callable[[], Iterator[bytes]] | httpx.Response | Exception


class Server:
    """Tells one job by its stream, of which each connection has its own, and when it is asked."""

    def __init__(self, states: list[Any], *streams: Stream) -> None:
        """The last of `states` is what the job stays at, as the last of `streams` does."""
        self.states = states
        self.streams = list(streams)
        self.event_requests: list[httpx.Request] = []
        self.asked = 0
        self.time = 0.0
        self.said: list[str] = []

    def follow(self) -> list[dict[str, Any]]:
        transport = httpx.MockTransport(self._answer)
        http = ApiHttp(
            "https://exports.example.com",
            GivenToken("t"),
            say=self.said.append,
            transport=transport,
            sleep=self._sleep,
            clock=lambda: self.time,
        )
        return list(itertools.islice(RestExports(http).states(JOB_ID), 50))

    def _sleep(self, seconds: float) -> None:
        self.time += seconds
        assert self.time < 100_000, "it goes on without an end"

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            self.event_requests.append(request)
            stream = self.streams.pop(0) if len(self.streams) > 1 else self.streams[0]
            if isinstance(stream, Exception):
                raise stream
            if isinstance(stream, httpx.Response):
                return httpx.Response(
                    stream.status_code,
                    headers=stream.headers,
                    stream=httpx.ByteStream(stream.content),
                )
            return httpx.Response(
                200, headers={"Content-Type": "text/event-stream"}, content=stream()
            )
        self.asked += 1
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        if isinstance(state, int):
            return httpx.Response(state, stream=httpx.ByteStream(b""))
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps({"data": state}).encode()))


def _event(state: dict[str, Any], number: int = 1) -> bytes:
    return f"id: {number}\ndata: {json.dumps(state)}\n\n".encode()


def _stream(*pieces: bytes | Exception) -> Callable[[], Iterator[bytes]]:
    def sent() -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return sent


def _running(percent: int) -> dict[str, Any]:
    return job("running", progress=progress(percent))


def _statuses(jobs: list[dict[str, Any]]) -> list[str]:
    return [each["status"] for each in jobs]


def test_each_change_is_told_once_until_the_end() -> None:
    stream = _stream(
        b"retry: 2000\n\n",
        _event(job()),
        b":\n\n",
        _event(_running(10), 2),
        _event(_running(10), 3),
        _event(job("completed"), 4),
        AssertionError("it reads on after the end"),
    )
    server = Server([job()], stream)
    assert _statuses(server.follow()) == ["pending", "running", "completed"]
    assert len(server.event_requests) == 1


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_job_that_has_ended_is_told_and_no_stream_opened(status: str) -> None:
    server = Server([job(status)], AssertionError("a stream"))
    assert _statuses(server.follow()) == [status]


@pytest.mark.parametrize(
    "cut", [httpx.ReadError("cut"), httpx.ReadTimeout("silence"), httpx.RemoteProtocolError("cut")]
)
def test_a_cut_stream_goes_on_from_its_last_event(cut: Exception) -> None:
    server = Server(
        [job(), _running(10)],
        _stream(_event(_running(10), 7), cut),
        _stream(_event(job("completed"), 8)),
    )
    assert _statuses(server.follow()) == ["pending", "running", "completed"]
    assert [each.headers.get("Last-Event-ID") for each in server.event_requests] == [None, "7"]


@pytest.mark.parametrize(
    "stream",
    [
        _stream(),
        _stream(b":\n\n"),
        _stream(b"data: <html>\n\n"),
        _stream(b"data: " + b"[" * 100_000 + b"\n\n"),
        _stream(b'data: {"status":"completed"}\n\n'),
        _stream(b"\xff\xfe\x00\n\n"),
        httpx.Response(200, text="<html>", headers={"Content-Type": "text/html"}),
        httpx.Response(
            200, headers={"Content-Type": "text/event-stream", "Content-Encoding": "br"}
        ),
        httpx.Response(204),
        httpx.Response(404),
        httpx.Response(405),
        httpx.Response(429, headers={"Retry-After": "86400"}),
        httpx.Response(502),
        httpx.Response(503),
        httpx.Response(302, headers={"Location": "/login"}),
        httpx.ConnectError("refused"),
    ],
)
def test_without_a_stream_the_job_is_asked_for_again_and_again(stream: Stream) -> None:
    server = Server([job(), _running(10), _running(20), job("completed")], stream)
    assert _statuses(server.follow()) == ["pending", "running", "running", "completed"]
    assert server.time < 120


def test_a_stream_gets_another_chance_after_a_while() -> None:
    server = Server([job()], httpx.Response(503), _stream(_event(job("completed"))))
    assert _statuses(server.follow()) == ["pending", "completed"]
    assert len(server.event_requests) == 2


@pytest.mark.parametrize(
    "piece", [b"x" * 65536, b"data: x\n" * 8192, b"data:" + b"x" * 65536 + b"\r"]
)
def test_an_event_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    monkeypatch.setattr(events, "_MOST_EVENT_BYTES", 1024 * 1024)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += len(piece)
            yield piece

    server = Server([job(), job("completed")], endless)
    assert _statuses(server.follow()) == ["pending", "completed"]
    assert sent <= 1024 * 1024 + 2 * len(piece)


@pytest.mark.parametrize(
    ("retry", "seconds"), [(b"0", 1.0), (b"3000", 3.0), (b"99999999", 10.0), (b"soon", 1.0)]
)
def test_a_server_says_within_bounds_when_to_come_back(retry: bytes, seconds: float) -> None:
    server = Server([job(), job("completed")], _stream(b"retry: " + retry + b"\n\n"))
    server.follow()
    assert server.time == seconds


@pytest.mark.parametrize("event_id", [b"a\xc3\xa4", b"x" * 300, b"a b", b""])
def test_an_id_that_no_header_may_hold_is_not_sent(event_id: bytes) -> None:
    data = json.dumps(_running(1)).encode()
    stream = _stream(b"id: " + event_id + b"\ndata: " + data + b"\n\n")
    server = Server([job(), _running(1), job("completed")], stream)
    assert server.follow()[-1]["status"] == "completed"
    assert "Last-Event-ID" not in server.event_requests[-1].headers


def test_a_job_that_is_gone_ends_the_command() -> None:
    gone = f'event: gone\ndata: {{"job_id":"{JOB_ID}"}}\n\n'.encode()
    with pytest.raises(CliError, match="was deleted") as caught:
        Server([job()], _stream(gone)).follow()
    assert caught.value.exit_code is ExitCode.NOT_FOUND


def test_a_token_that_ends_in_the_middle_ends_the_command() -> None:
    with pytest.raises(CliError) as caught:
        Server([job()], httpx.Response(401)).follow()
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED


def test_a_server_that_comes_back_is_waited_for() -> None:
    away: list[Any] = [httpx.ConnectError("refused")] * 12
    server = Server([job(), *away, job("completed")], httpx.ConnectError("refused"))
    assert _statuses(server.follow()) == ["pending", "completed"]
    assert server.said == ["The server is away. The job goes on, and the command waits for it."]


def test_a_server_that_stays_away_is_given_up_with_a_word_on_how_to_go_on() -> None:
    server = Server([job(), httpx.ConnectError("refused")], httpx.ConnectError("refused"))
    with pytest.raises(CliError) as caught:
        server.follow()
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert f"backupexport watch {JOB_ID}" in caught.value.advice
    assert 600 < server.time < 1200


def test_a_server_that_was_never_there_is_told_at_once() -> None:
    server = Server([httpx.ConnectError("refused")], _stream())
    with pytest.raises(CliError):
        server.follow()
    assert server.time < 10
