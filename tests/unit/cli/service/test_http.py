"""What is sent again, what is waited for, and what a hostile answer does."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service import http as http_module
from backupexport_cli.service.http import ApiHttp, GivenToken

URL = "https://exports.example.com"
Handler = Callable[[httpx.Request], httpx.Response]


class Renewable:
    """A token that is renewed as often as there are others."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    def value(self) -> str:
        return self._tokens[0]

    def refresh(self) -> bool:
        if len(self._tokens) == 1:
            return False
        self._tokens.pop(0)
        return True


class World:
    """A server that gives prepared answers, the last one for ever, and a clock."""

    def __init__(self, *answers: httpx.Response | Handler | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        self.said: list[str] = []
        self.traced: list[str] = []
        self.time = 0.0

    def http(self, bearer: Any = None, url: str = URL) -> ApiHttp:
        return ApiHttp(
            url,
            bearer or GivenToken("secret-token"),
            say=self.said.append,
            trace=self.traced.append,
            transport=httpx.MockTransport(self._answer),
            sleep=self._sleep,
            clock=lambda: self.time,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return _unread(answer if isinstance(answer, httpx.Response) else answer(request))


def _unread(answer: httpx.Response) -> httpx.Response:
    """As it comes from a network, and not read already."""
    if not answer.is_stream_consumed:
        return answer
    stream = httpx.ByteStream(answer.content)
    return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)


def _ok(data: Any = None) -> httpx.Response:
    return httpx.Response(200, json={"data": data})


def _error_of(world: World, **options: Any) -> CliError:
    with pytest.raises(CliError) as caught:
        world.http(**options).json("GET", "/x")
    return caught.value


def test_an_answer_is_read() -> None:
    world = World(_ok({"a": 1}))
    assert world.http().json("GET", "/x").body == {"data": {"a": 1}}
    assert world.requests[0].headers["Authorization"] == "Bearer secret-token"
    assert world.requests[0].headers["Accept-Encoding"] == "identity"


def test_what_everybody_may_ask_is_asked_without_the_token() -> None:
    world = World(_ok())
    world.http().json("GET", "/x", with_token=False)
    assert "Authorization" not in world.requests[0].headers


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_waited_for(status: int) -> None:
    world = World(httpx.Response(status, headers={"Retry-After": "7"}), _ok())
    world.http().json("GET", "/x")
    assert world.slept == [7.0]
    assert "7 s" in world.said[0]


def test_a_server_that_asks_for_a_day_is_not_waited_for() -> None:
    world = World(httpx.Response(429, headers={"Retry-After": "86400"}))
    assert _error_of(world).exit_code is ExitCode.UNREACHABLE
    assert world.slept == []


def test_all_waits_together_have_an_end() -> None:
    world = World(httpx.Response(503, headers={"Retry-After": "50"}))
    assert _error_of(world).exit_code is ExitCode.UNREACHABLE
    assert world.slept == [50.0, 50.0]


@pytest.mark.parametrize(
    "value", ["", "0", "-5", "soon", "1e9", "9" * 50, "²", "Wed, 21 Oct 2026 07:28:00 GMT"]
)
def test_an_odd_retry_after_neither_breaks_nor_holds_up(value: str) -> None:
    headers = [(b"Retry-After", value.encode())]
    world = World(httpx.Response(503, headers=headers))
    _error_of(world)
    assert sum(world.slept) <= 121


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_broken_way_is_tried_again_and_given_up(status: int) -> None:
    world = World(httpx.Response(status, text="<html>"))
    assert _error_of(world).exit_code is ExitCode.UNREACHABLE
    assert len(world.requests) == 5


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 500, 501])
def test_what_would_be_answered_alike_is_not_asked_again(status: int) -> None:
    world = World(httpx.Response(status, json={"code": "c", "detail": "D."}))
    _error_of(world)
    assert len(world.requests) == 1


def test_a_cut_connection_is_tried_again() -> None:
    world = World(httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), _ok(1))
    assert world.http().json("GET", "/x").body == {"data": 1}


def _cut_off() -> httpx.Response:
    def body() -> Iterator[bytes]:
        yield b'{"data": '
        raise httpx.RemoteProtocolError("incomplete message body")

    return httpx.Response(200, content=body())


def test_an_answer_that_is_cut_off_is_asked_for_again() -> None:
    world = World(_cut_off(), _cut_off(), _ok(1))
    assert world.http().json("GET", "/x").body == {"data": 1}
    assert len(world.requests) == 3
    assert len(world.slept) == 2


def test_answers_that_are_always_cut_off_are_given_up() -> None:
    world = World(lambda _request: _cut_off())
    error = _error_of(world)
    assert error.exit_code is ExitCode.UNREACHABLE
    assert "incomplete message body" in error.message
    assert len(world.requests) == 5


@pytest.mark.parametrize("words", ["Connection refused", "[Errno 111] Connection refused"])
def test_a_server_that_is_away_is_named_and_its_words_too(words: str) -> None:
    error = _error_of(World(httpx.ConnectError(words)))
    assert error.exit_code is ExitCode.UNREACHABLE
    assert error.message == "exports.example.com can't be reached: Connection refused."


def test_a_refused_token_is_renewed_once() -> None:
    world = World(httpx.Response(401), _ok(1))
    assert world.http(Renewable("old", "new")).json("GET", "/x").body == {"data": 1}
    assert [each.headers["Authorization"] for each in world.requests] == [
        "Bearer old", "Bearer new",
    ]  # fmt: skip


def test_tokens_are_not_renewed_without_an_end() -> None:
    world = World(httpx.Response(401))
    error = _error_of(world, bearer=Renewable(*map(str, range(100))))
    assert error.exit_code is ExitCode.NOT_ALLOWED
    assert len(world.requests) == 2


def test_a_token_that_nothing_renews_leads_to_the_login() -> None:
    world = World(httpx.Response(401))
    assert "backupexport login" in _error_of(world, bearer=Renewable("old")).advice
    assert len(world.requests) == 1


def test_a_given_token_that_is_refused_is_told_by_its_variable() -> None:
    error = _error_of(World(httpx.Response(401)))
    assert "BACKUPEXPORT_TOKEN" in error.advice


def test_the_token_is_told_nowhere() -> None:
    world = World(httpx.Response(401, json={"code": "c", "detail": "D."}))
    error = _error_of(world)
    told = (
        f"{world.traced} {world.said} {error.message} {error.advice} {GivenToken('secret-token')}"
    )
    assert world.traced
    assert "secret-token" not in told


def test_a_traced_request_has_no_query() -> None:
    world = World(_ok())
    world.http().json("GET", "/x", params={"signature": "of-a-link"})
    assert "of-a-link" not in str(world.traced)


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"{", b"[" * 100_000, b"\xff"])
def test_a_success_that_is_no_json_is_told(body: bytes) -> None:
    error = _error_of(World(httpx.Response(200, content=body)))
    assert error.exit_code is ExitCode.UNREACHABLE
    assert "exports.example.com" in error.message


def test_an_answer_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MOST_BYTES", 1000)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 100
            yield b" " * 100

    error = _error_of(World(httpx.Response(200, content=endless())))
    assert error.exit_code is ExitCode.UNREACHABLE
    assert sent <= 1200


def test_an_answer_that_drips_is_cut() -> None:
    world = World()

    def dripping() -> Iterator[bytes]:
        while True:
            world.time += 5
            yield b" "

    world.answers = [httpx.Response(200, content=dripping())]
    assert "too long" in _error_of(world).message


def test_a_compressed_answer_is_not_unpacked() -> None:
    """It was not asked for, and a few bytes can become all of the memory."""
    headers = {"Content-Encoding": "gzip"}
    answer = httpx.Response(200, stream=httpx.ByteStream(b"\x1f\x8b\x08"), headers=headers)
    assert "no JSON" in _error_of(World(answer)).message


def test_a_redirect_of_the_api_is_not_followed_but_told() -> None:
    world = World(httpx.Response(302, headers={"Location": "https://evil.example/x"}))
    error = _error_of(world)
    assert len(world.requests) == 1
    assert "evil.example" in error.message


def _opened(world: World) -> httpx.Response:
    with world.http().open("GET", "/file", follow=True) as response:
        response.read()
    return response


def test_a_file_is_fetched_where_a_redirect_leads_without_the_token() -> None:
    world = World(
        httpx.Response(307, headers={"Location": "https://bucket.example/k?sig=s"}),
        httpx.Response(200, content=b"file"),
    )
    assert _opened(world).content == b"file"
    assert "Authorization" not in world.requests[1].headers
    assert "sig=s" not in str(world.traced)


def test_a_redirect_on_the_same_host_keeps_the_token() -> None:
    world = World(httpx.Response(307, headers={"Location": "/other"}), httpx.Response(200))
    _opened(world)
    assert "Authorization" in world.requests[1].headers


def test_another_port_is_another_host() -> None:
    led = "https://exports.example.com:8443/x"
    world = World(httpx.Response(307, headers={"Location": led}), httpx.Response(200))
    _opened(world)
    assert "Authorization" not in world.requests[1].headers


@pytest.mark.parametrize(
    "location",
    [
        "/again", "http://plain.example/x", "file:///etc/passwd", "ftp://x/", "https://[x/",
        "https://x:99999/", "//",
    ],
)  # fmt: skip
def test_a_redirect_that_leads_nowhere_good_ends_the_command(location: str) -> None:
    world = World(httpx.Response(307, headers={"Location": location}))
    with pytest.raises(CliError) as caught:
        _opened(world)
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert len(world.requests) <= (6 if location in ("/again", "//") else 1)


def test_without_patience_nothing_is_waited_for() -> None:
    world = World(httpx.Response(503, headers={"Retry-After": "1"}))
    with pytest.raises(CliError), world.http().open("GET", "/x", is_patient=False):
        pass
    assert world.slept == []


def test_who_has_only_a_moment_renews_no_token() -> None:
    world = World(httpx.Response(401))
    http = ApiHttp(
        URL,
        Renewable("old", "new"),
        transport=httpx.MockTransport(world._answer),
        is_hurried=True,
    )
    with pytest.raises(CliError) as caught:
        http.json("GET", "/x")
    http.close()
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED
    assert len(world.requests) == 1
