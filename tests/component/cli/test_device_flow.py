"""Logins in a browser against a strict double of RFC 8628, and against hostile issuers."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cli_home
import jwt
import pytest
from backupexport_cli.__main__ import main
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login import contexts, device_flow, private_files
from backupexport_cli.login.access import AccessToken
from backupexport_cli.login.device_flow import Client, Clock
from backupexport_cli.login.issuer import Answer, IssuerClient, IssuerUnreachableError, discover
from backupexport_cli.login.token_store import TokenStore
from backupexport_cli.login.tokens import Origin, Tokens, tokens_of
from device_issuer import AUDIENCE, CLIENT, DeviceIssuer, send
from exports_server import ExportsServer, exports_server
from jwks_server import eventually
from playground.tools import ROOT


class Time:
    """Passes when somebody sleeps, at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


def takes_tokens_of(issuer: DeviceIssuer) -> Callable[[str], bool]:
    """As a server does that knows the issuer's key."""
    key = issuer.key.key.public_key()
    audience = [AUDIENCE, CLIENT]

    def takes(token: str) -> bool:
        try:
            jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=issuer.url)
        except jwt.PyJWTError:
            return False
        return True

    return takes


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def issuer(time: Time) -> Iterator[DeviceIssuer]:
    issuer = DeviceIssuer(lambda: time.now)
    yield issuer
    issuer.close()


@pytest.fixture
def real_issuer() -> Iterator[DeviceIssuer]:
    """One whose time is the machine's; it wants a second between two questions."""
    issuer = DeviceIssuer()
    issuer.interval = 1
    issuer.claims = {"projects": ["proj-1", "proj-2"]}
    yield issuer
    issuer.close()


@pytest.fixture
def server(real_issuer: DeviceIssuer) -> Iterator[ExportsServer]:
    login = {"issuer": real_issuer.url, "client_id": CLIENT, "audience": None}
    scopes = {"scopes": ["openid", "offline_access"]}
    with exports_server(login | scopes, takes_tokens_of(real_issuer)) as server:
        yield server


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return cli_home.isolate(monkeypatch, tmp_path)


def log_in(issuer: DeviceIssuer, time: Time, **client: Any) -> tuple[Tokens, list[str]]:
    """The whole flow, and what was told on the way."""
    told: list[str] = []
    wanted = Client(issuer.url, CLIENT, **client)
    with IssuerClient() as http:
        endpoints = discover(http, issuer.url)
        given = device_flow.begin(http, endpoints.device_authorization or "", wanted)
        answer = device_flow.wait_for_tokens(
            http, endpoints.token, wanted, given, tell=told.append, clock=time.clock()
        )
    origin = Origin.of(CLIENT, endpoints, wanted.audience)
    return tokens_of(answer, "https://exports.example", origin), told


def decide_after(issuer: DeviceIssuer, time: Time, states: list[str]) -> None:
    """After each pause the person does the next of `states`."""
    left = iter(states)
    sleep = time.sleep

    def sleep_and_decide(seconds: float) -> None:
        sleep(seconds)
        issuer.decide(next(left, "pending"))

    time.sleep = sleep_and_decide  # type: ignore[method-assign]


def test_a_login_waits_as_the_issuer_says(issuer: DeviceIssuer, time: Time) -> None:
    decide_after(issuer, time, ["pending", "too often", "pending", "approved"])
    tokens, told = log_in(issuer, time)
    assert tokens.refresh_token
    assert jwt.decode(tokens.value, options={"verify_signature": False})["aud"] == AUDIENCE
    # 3.5: five seconds more for this and all later questions.
    assert time.pauses == [5, 5, 10, 10]
    assert issuer.broken_rules == told == []


def test_the_usual_interval_is_five_seconds(issuer: DeviceIssuer, time: Time) -> None:
    issuer.device_answer = {"interval": None}
    decide_after(issuer, time, ["approved"])
    log_in(issuer, time)
    assert time.pauses == [5]


def test_no_interval_may_be_said_in_words(issuer: DeviceIssuer) -> None:
    body = {
        "device_code": "d", "user_code": "u", "verification_uri": issuer.url,
        "expires_in": 600, "interval": None,
    }  # fmt: skip
    assert device_flow.authorization_of(Answer(200, body), issuer.url).interval == 5


def test_a_cut_is_bridged_and_asked_less_often(issuer: DeviceIssuer, time: Time) -> None:
    issuer.faults = ["cut", (503, b"<html>"), (429, {})]
    decide_after(issuer, time, ["pending", "pending", "pending", "approved"])
    tokens, told = log_in(issuer, time)
    assert tokens.value
    assert time.pauses == [5, 10, 20, 40]
    assert len(told) == 3
    assert issuer.broken_rules == []


@pytest.mark.parametrize(
    "busy",
    [
        (429, {"error": "too_many_requests"}),
        (503, {"error": "temporarily_unavailable"}),
        (500, {"error": "server_error"}),
        (400, {"error": "temporarily_unavailable"}),
    ],
)
def test_a_busy_issuer_is_asked_again_whatever_it_calls_it(
    issuer: DeviceIssuer, time: Time, busy: tuple[int, Any]
) -> None:
    issuer.faults = [busy]
    decide_after(issuer, time, ["pending", "approved"])
    tokens, told = log_in(issuer, time)
    assert tokens.value
    assert time.pauses == [5, 10]
    assert len(told) == 1


@pytest.mark.parametrize("status", [200, 401, 429, 503])
def test_what_is_said_of_the_login_counts_whatever_the_status(
    issuer: DeviceIssuer, time: Time, status: int
) -> None:
    words = ["authorization_pending", "slow_down", "access_denied"]
    issuer.faults = [(status, {"error": word}) for word in words]
    with pytest.raises(CliError, match="refused in the browser"):
        log_in(issuer, time)
    assert time.pauses == [5, 5, 10]


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/device"])
@pytest.mark.parametrize(
    "busy",
    [(429, {"error": "too_many_requests"}), (503, b"<html>"), (400, {"error": "server_error"})],
)
def test_a_busy_issuer_is_no_wrong_one(
    issuer: DeviceIssuer, time: Time, path: str, busy: tuple[int, Any]
) -> None:
    issuer.answers[path] = lambda request: send(request, *busy)
    with pytest.raises(CliError, match="for now") as caught:
        log_in(issuer, time)
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert caught.value.advice == "Try again in a moment."


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceIssuer]:
    """What the environment names as the proxy of everything."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    proxy = DeviceIssuer()
    for scheme in ("http", "https", "all"):
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url.removesuffix("/issuer"))
    yield proxy
    proxy.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_for_this_machine_goes_to_a_proxy(
    issuer: DeviceIssuer, proxy: DeviceIssuer, host: str
) -> None:
    with IssuerClient() as http:
        assert http.get(issuer.url.replace("127.0.0.1", host)).status == 404
        http.post(f"{issuer.url}/token".replace("127.0.0.1", host), {"refresh_token": "R1"})
    assert proxy.requests == []
    assert issuer.forms("/token") == [{"refresh_token": "R1"}]


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]"])
def test_no_address_of_this_machine_is_a_proxys(proxy: DeviceIssuer, host: str) -> None:
    # Nobody listens at port 1.
    with IssuerClient() as http, pytest.raises(IssuerUnreachableError, match="ConnectError"):
        http.get(f"http://{host}:1/")
    assert proxy.requests == []


def test_what_is_no_url_is_told_as_that() -> None:
    with IssuerClient() as http, pytest.raises(IssuerUnreachableError):
        http.get("http://[")


def test_everybody_else_is_asked_by_way_of_the_proxy(proxy: DeviceIssuer) -> None:
    # It refuses to lead there.
    with IssuerClient() as http, pytest.raises(IssuerUnreachableError, match="ProxyError"):
        http.get("https://issuer.example/")


def test_a_proxy_that_is_none_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "gopher://me:the-password@proxy.example")
    with IssuerClient() as http, pytest.raises(CliError) as caught:
        http.get("https://issuer.example/")
    assert caught.value.exit_code is ExitCode.USAGE
    assert "the-password" not in caught.value.message + caught.value.advice


@pytest.mark.parametrize(
    ("state", "words"), [("denied", "refused in the browser"), ("pending", "has expired")]
)
def test_a_login_that_does_not_come(
    issuer: DeviceIssuer, time: Time, state: str, words: str
) -> None:
    decide_after(issuer, time, [state] * 1000)
    with pytest.raises(CliError, match=words) as caught:
        log_in(issuer, time)
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED
    assert "backupexport login" in caught.value.advice
    assert issuer.broken_rules == []


def test_the_issuer_says_that_the_code_has_expired(issuer: DeviceIssuer, time: Time) -> None:
    issuer.faults = [(400, {"error": "expired_token"})]
    with pytest.raises(CliError, match="has expired"):
        log_in(issuer, time)


def test_an_error_is_told_without_its_escape_sequences(issuer: DeviceIssuer, time: Time) -> None:
    issuer.faults = [(400, {"error": "bad\x1b[2J", "error_description": "x\r\n\x1b]0;y\x07" * 500})]
    with pytest.raises(CliError) as caught:
        log_in(issuer, time)
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 500


def test_the_id_token_goes_where_the_access_token_is_no_jwt(
    issuer: DeviceIssuer, time: Time
) -> None:
    issuer.access_tokens_are_jwts = False
    decide_after(issuer, time, ["approved"])
    tokens, _ = log_in(issuer, time)
    assert jwt.decode(tokens.value, options={"verify_signature": False})["aud"] == CLIENT


def test_without_any_jwt_there_is_no_login(issuer: DeviceIssuer, time: Time) -> None:
    issuer.access_tokens_are_jwts = False
    decide_after(issuer, time, ["approved"])
    with pytest.raises(CliError, match="no JWT") as caught:
        log_in(issuer, time, scopes=("profile",))
    assert "openid" in caught.value.advice


def test_the_audience_decides_between_two_jwts(issuer: DeviceIssuer, time: Time) -> None:
    decide_after(issuer, time, ["approved"])
    tokens, _ = log_in(issuer, time, audience=CLIENT)
    assert jwt.decode(tokens.value, options={"verify_signature": False})["aud"] == CLIENT
    assert issuer.forms("/device")[0]["audience"] == CLIENT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "http://127.0.0.1:1/issuer"}, "by another name"),
        ({"issuer": None}, "by another name"),
        ({"token_endpoint": "http://issuer.example/token"}, "not https"),
        ({"token_endpoint": None}, "no token endpoint"),
        ({"token_endpoint": ["x"]}, "no URL"),
        ({"device_authorization_endpoint": "http://10.0.0.1/device"}, "not https"),
        ({"device_authorization_endpoint": "https://a:b@issuer.example/d"}, "has a password"),
        ({"device_authorization_endpoint": "file:///etc/passwd"}, "no URL"),
        ({"revocation_endpoint": "http://issuer.example/r"}, "not https"),
        ({"token_endpoint": "https://issuer.example:99999/"}, "no URL"),
    ],
)
def test_a_discovery_document_that_leads_astray(
    issuer: DeviceIssuer, changes: dict[str, Any], words: str
) -> None:
    issuer.discovery = changes
    with IssuerClient() as http, pytest.raises(CliError, match=words):
        discover(http, issuer.url)


def test_an_issuer_in_clear_is_not_asked() -> None:
    with IssuerClient() as http, pytest.raises(CliError, match="is not https"):
        discover(http, "http://issuer.example")


def test_redirects_are_not_followed(issuer: DeviceIssuer, time: Time) -> None:
    elsewhere = {"Location": f"{issuer.url}/elsewhere"}
    issuer.answers["/device"] = lambda request: send(request, 307, {}, elsewhere)
    with pytest.raises(CliError, match="gives no code"):
        log_in(issuer, time)
    del issuer.answers["/device"]
    issuer.answers["/token"] = lambda request: send(request, 307, {}, elsewhere)
    decide_after(issuer, time, ["approved"])
    with pytest.raises(CliError, match="has refused the login"):
        log_in(issuer, time)
    path = "/.well-known/openid-configuration"
    issuer.answers[path] = lambda request: send(request, 302, {}, elsewhere)
    with pytest.raises(CliError, match="no OpenID Connect discovery"):
        log_in(issuer, time)
    assert "/elsewhere" not in issuer.paths()


def test_a_huge_answer_is_not_read(issuer: DeviceIssuer, time: Time) -> None:
    huge = b'{"device_code": "' + b"x" * 2_000_000
    issuer.answers["/device"] = lambda request: send(request, 200, huge)
    with pytest.raises(CliError, match="longer than 1 MiB"):
        log_in(issuer, time)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"[" * 100_000, b"\xff", b"{}"])
def test_an_answer_that_is_none(issuer: DeviceIssuer, time: Time, body: bytes) -> None:
    issuer.answers["/device"] = lambda request: send(request, 200, body)
    with pytest.raises(CliError, match="holds no device code"):
        log_in(issuer, time)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interval": 10**9}, "too long a pause"),
        ({"interval": -1}, "how often"),
        ({"interval": True}, "how often"),
        ({"interval": "soon"}, "how often"),
        ({"interval": 1e999}, "how often"),
        ({"expires_in": None}, "how long"),
        ({"expires_in": 0}, "how long"),
        ({"verification_uri": "javascript:alert(1)"}, "no https page"),
        ({"verification_uri": "http://issuer.example/"}, "no https page"),
        ({"verification_uri": "https://issuer.example/\x1b[2J"}, "no https page"),
        ({"verification_uri": "https://issuer.example/\nCode: 1"}, "no https page"),
        ({"verification_uri": "https://bank.example@issuer.example/"}, "no https page"),
        ({"verification_uri": "https://" + "x" * 3000}, "no https page"),
        ({"verification_uri": None}, "no https page"),
        ({"verification_uri": 7}, "no https page"),
        ({"user_code": "A\x1b[2J"}, "a person could type"),
        ({"user_code": "\u202eABCD"}, "a person could type"),
        ({"user_code": "A" * 1000}, "a person could type"),
        ({"user_code": "  "}, "a person could type"),
        ({"device_code": ""}, "no device code"),
    ],
)
def test_a_device_answer_that_can_not_be_followed(
    issuer: DeviceIssuer, time: Time, changes: dict[str, Any], words: str
) -> None:
    issuer.device_answer = changes
    with pytest.raises(CliError, match=words):
        log_in(issuer, time)
    assert time.pauses == []


def test_a_bad_complete_page_is_left_out(issuer: DeviceIssuer) -> None:
    issuer.device_answer = {"verification_uri_complete": "javascript:alert(1)"}
    with IssuerClient() as http:
        given = device_flow.begin(http, f"{issuer.url}/device", Client(issuer.url, CLIENT))
    assert given.page.endswith("/page")
    assert given.page_with_code is None


def test_nobody_waits_for_longer_than_an_hour(issuer: DeviceIssuer, time: Time) -> None:
    issuer.device_answer = {"expires_in": 10**9}
    issuer.lifetime = 10**9
    with pytest.raises(CliError, match="has expired"):
        log_in(issuer, time)
    assert sum(time.pauses) <= 3600


# The whole command.


@contextlib.contextmanager
def person(issuer: DeviceIssuer, state: str = "approved") -> Iterator[None]:
    """Somebody who does `state` as soon as there is a code."""

    def decide() -> None:
        eventually(lambda: "/token" in issuer.paths() or issuer._devices)
        issuer.decide(state)

    thread = threading.Thread(target=decide)
    thread.start()
    yield
    thread.join()


def test_login_whoami_logout(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    out, err = capsys.readouterr()
    assert f"Open  {real_issuer.url}/page" in out
    assert "Subject   alice" in out
    assert "Projects  proj-1, proj-2" in out
    assert "by this machine's clock" in out
    assert "Next:" in err
    token = server.seen[-1]
    tokens = TokenStore().get("127.0.0.1")
    assert tokens is not None
    for secret in (token, str(tokens.refresh_token)):
        assert secret not in out + err
    assert (home / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700

    assert main(["whoami", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["subject"] == "alice"
    assert shown["accepted"] is True

    assert main(["logout"]) == 0
    assert "has ended the login" in capsys.readouterr().err
    assert real_issuer.revoked == [tokens.refresh_token]
    assert TokenStore().get("127.0.0.1") is None
    assert main(["whoami"]) == 3
    assert "backupexport login" in capsys.readouterr().err
    assert real_issuer.broken_rules == []


def test_json_has_the_code_and_then_who_it_is(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with person(real_issuer):
        assert main(["login", server.url, "--name", "here", "--json", "--quiet"]) == 0
    first, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert first["verification_uri"] == f"{real_issuer.url}/page"
    assert last["context"] == "here"
    assert last["projects"] == ["proj-1", "proj-2"]


def test_a_token_that_the_server_refuses_is_not_kept(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    real_issuer.claims = {"aud": "somebody else"}
    with person(real_issuer):
        assert main(["login", server.url]) == 3
    assert "not kept" in capsys.readouterr().err
    assert not home.exists()


def test_an_expired_token_is_renewed_and_the_rotated_one_kept(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    before = TokenStore().get("127.0.0.1")
    assert before is not None
    server.refused.add(before.value)
    assert main(["whoami"]) == 0
    after = TokenStore().get("127.0.0.1")
    assert after is not None
    assert after.value not in (before.value, "")
    assert after.refresh_token != before.refresh_token
    # The server alone decides: the new one is used although it is expired by our own clock.
    assert main(["whoami"]) == 0
    assert len(real_issuer.forms("/token")) == 2
    assert real_issuer.broken_rules == []
    capsys.readouterr()


def test_a_login_that_was_ended_says_what_to_do(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    kept = TokenStore().get("127.0.0.1")
    assert kept is not None
    server.refused.add(kept.value)
    real_issuer._logins[0].ended = True
    capsys.readouterr()
    assert main(["whoami"]) == 3
    assert "backupexport login" in capsys.readouterr().err


def test_an_issuer_that_is_busy_ends_no_login(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    kept = TokenStore().get("127.0.0.1")
    assert kept is not None
    server.refused.add(kept.value)
    for fault in (
        (429, {"error": "too_many_requests"}),
        (400, {"error": "temporarily_unavailable"}),
    ):
        real_issuer.faults = [fault]
        capsys.readouterr()
        assert main(["whoami"]) == 5
        assert "Try again in a moment" in capsys.readouterr().err
    assert main(["whoami"]) == 0


def test_a_refresh_without_a_token_for_the_server_loses_nothing(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    real_issuer.access_tokens_are_jwts = False
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    before = TokenStore().get("127.0.0.1")
    assert before is not None
    server.refused.add(before.value)
    real_issuer._logins[0].scope = "offline_access"
    capsys.readouterr()
    assert main(["whoami"]) == 3
    assert "Log in again with `backupexport login`" in capsys.readouterr().err
    after = TokenStore().get("127.0.0.1")
    assert after is not None
    assert after.value == before.value
    assert after.refresh_token == real_issuer._logins[0].refresh_token != before.refresh_token
    # So the next one is good where the issuer has an ID token again.
    real_issuer._logins[0].scope = "openid offline_access"
    assert main(["whoami"]) == 0
    assert real_issuer.broken_rules == []


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when somebody waits for another's lock."""
    waiting = threading.Event()
    try_lock = private_files._try_lock

    def noted(descriptor: int) -> bool:
        is_mine = try_lock(descriptor)
        if not is_mine:
            waiting.set()
        return is_mine

    monkeypatch.setattr(private_files, "_try_lock", noted)
    return waiting


@contextlib.contextmanager
def refreshing(
    issuer: DeviceIssuer, server: ExportsServer, until: Callable[[], Any]
) -> Iterator[list[bool | CliError]]:
    """A refresh that the issuer answers when `until` holds; yields what came of it, at the end."""
    context = contexts.load().find()
    assert context is not None
    access = AccessToken(context)
    server.refused.add(access.value())
    asked = threading.Event()

    def answer(request: Any) -> None:
        answered = issuer._token(issuer.forms("/token")[-1])
        asked.set()
        eventually(until)
        send(request, *answered)

    def refresh() -> None:
        try:
            results.append(access.refresh())
        except CliError as error:
            results.append(error)

    results: list[bool | CliError] = []
    issuer.answers["/token"] = answer
    thread = threading.Thread(target=refresh)
    thread.start()
    eventually(asked.is_set)
    try:
        yield results
    finally:
        thread.join()
        del issuer.answers["/token"]


@pytest.mark.parametrize("command", [["logout"], ["contexts", "remove", "127.0.0.1"]])
def test_a_login_that_is_ended_during_a_refresh_does_not_come_back(
    real_issuer: DeviceIssuer,
    server: ExportsServer,
    waiting: threading.Event,
    command: list[str],
) -> None:
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    over = threading.Event()
    with refreshing(real_issuer, server, lambda: waiting.is_set() or over.is_set()):
        assert main(command) == 0
        over.set()
    assert TokenStore().get("127.0.0.1") is None
    assert real_issuer.revoked == [real_issuer._logins[0].refresh_token]


def test_a_login_during_a_refresh_is_the_one_that_stays(
    real_issuer: DeviceIssuer, server: ExportsServer, waiting: threading.Event
) -> None:
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    claims = real_issuer.key.claims(iss=real_issuer.url, aud=AUDIENCE, sub="new")
    token = real_issuer.key.token(claims=claims)
    over = threading.Event()
    with refreshing(real_issuer, server, lambda: waiting.is_set() or over.is_set()):
        assert main(["login", server.url, "--token", token]) == 0
        over.set()
    kept = TokenStore().get("127.0.0.1")
    assert kept is not None
    assert kept.value == token


def test_verbose_tells_of_the_issuer_too_and_of_no_code_or_token(
    real_issuer: DeviceIssuer, server: ExportsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with person(real_issuer):
        assert main(["login", server.url, "--verbose"]) == 0
    first = TokenStore().get("127.0.0.1")
    assert first is not None
    server.refused.add(first.value)
    assert main(["whoami", "--verbose"]) == 0
    second = TokenStore().get("127.0.0.1")
    assert second is not None
    assert main(["logout", "--verbose"]) == 0
    err = capsys.readouterr().err
    asked = ("GET 127.0.0.1/issuer/.well-known/openid-configuration: 200", "/issuer/device: 200",
             "/issuer/token: 200", "/issuer/revoke: 200")  # fmt: skip
    assert [words for words in asked if words not in err] == []
    # One at the login's end, and one for the refused token.
    assert err.count("/issuer/token: 200") == 2
    for tokens in (first, second):
        assert tokens.value not in err
        assert str(tokens.refresh_token) not in err


def test_tokens_that_nobody_keeps_are_given_back(
    real_issuer: DeviceIssuer, server: ExportsServer
) -> None:
    with person(real_issuer):
        assert main(["login", server.url]) == 0
    over = threading.Event()
    with refreshing(real_issuer, server, over.is_set) as results:
        TokenStore().file.unlink()
        over.set()
    assert isinstance(results[0], CliError)
    assert results[0].exit_code is ExitCode.NOT_ALLOWED
    assert TokenStore().get("127.0.0.1") is None
    assert real_issuer.revoked == [real_issuer._logins[0].refresh_token]


def test_a_server_without_an_issuer_takes_a_piped_token(
    real_issuer: DeviceIssuer,
    server: ExportsServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    server.login = None
    token = real_issuer.key.token(
        claims=real_issuer.key.claims(iss=real_issuer.url, aud=AUDIENCE, sub="ci")
    )
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    with file.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["login", server.url]) == 2
        assert "--token -" in capsys.readouterr().err
        assert main(["login", server.url, "--token", "-"]) == 0
    assert "Subject   ci" in capsys.readouterr().out
    assert main(["login", server.url, "--token", token]) == 0
    err = capsys.readouterr().err
    assert "command line" in err
    assert token not in err


_REFRESHING = """
import sys
from pathlib import Path
from backupexport_cli.login.access import AccessToken
from backupexport_cli.login.contexts import Context
from backupexport_cli.login.token_store import TokenStore

access = AccessToken(Context("here", sys.argv[1]), TokenStore(Path(sys.argv[2]), lambda: None))
access.value()
print("ready", flush=True)
print(access.refresh(), access.value())
"""


def test_two_processes_renew_once(issuer: DeviceIssuer, time: Time, tmp_path: Path) -> None:
    decide_after(issuer, time, ["approved"])
    tokens, _ = log_in(issuer, time)
    store = TokenStore(tmp_path / "store", lambda: None)
    store.put("here", tokens)
    command = [sys.executable, "-c", _REFRESHING, tokens.server, str(tmp_path / "store")]
    path = os.pathsep.join(str(ROOT / folder) for folder in ("cli", "crds"))
    with contextlib.ExitStack() as stack:
        with store.turn():
            processes = [
                stack.enter_context(
                    subprocess.Popen(
                        command,
                        stdout=subprocess.PIPE,
                        text=True,
                        env=os.environ | {"PYTHONPATH": path},
                    )
                )
                for _ in range(2)
            ]
            # Both have the old token before either may ask.
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
        found = [process.communicate(timeout=60)[0].split() for process in processes]
    assert found[0] == found[1]
    assert found[0][0] == "True"
    assert found[0][1] != tokens.value
    refreshes = [form for form in issuer.forms("/token") if form["grant_type"] == "refresh_token"]
    assert len(refreshes) == 1
    assert issuer.broken_rules == []
