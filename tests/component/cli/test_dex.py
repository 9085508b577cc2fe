"""Logins at a real issuer, Dex, with tokens that the api's own authentication checks."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cli_home
import pytest
from backupexport_api.auth.authentication import Authenticator, Caller
from backupexport_api.auth.settings import JwtSettings
from backupexport_api.http.problems import ProblemError
from backupexport_cli.__main__ import main
from backupexport_cli.login.token_store import TokenStore
from dex import CLIENT, EMAIL, Dex, dex
from exports_server import ExportsServer, exports_server
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from jwks_server import eventually
from local_api import local_api
from playground.forward import free_port


class Api:
    """The authentication of an api that trusts an issuer, behind a server of one route."""

    def __init__(self, issuer: Dex) -> None:
        settings = JwtSettings(
            jwt_algorithms=("RS256",),
            jwt_jwks_url=f"{issuer.url}/keys",
            jwt_issuer=issuer.url,
            jwt_audience=CLIENT,
            # Dex has no claim with projects.
            tokens_without_projects="all",
            jwt_leeway_seconds=0,
        )
        self._authenticator = Authenticator(settings)
        self._loop = asyncio.new_event_loop()
        self._turn = threading.Lock()
        self.callers: list[Caller] = []
        self._authenticator.start()

    def takes(self, token: str) -> bool:
        with self._turn:
            try:
                caller = self._loop.run_until_complete(self._authenticator.caller_of(token))
            except ProblemError:
                return False
        self.callers.append(caller)
        return True

    def close(self) -> None:
        self._authenticator.stop()
        self._loop.close()


Start = Callable[..., tuple[Dex, Api, ExportsServer]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts all three; `flags` are Dex's."""
    cli_home.isolate(monkeypatch, tmp_path)
    with contextlib.ExitStack() as stack:

        def started(**flags: str) -> tuple[Dex, Api, ExportsServer]:
            issuer = stack.enter_context(dex(tmp_path, **flags))
            api = Api(issuer)
            stack.callback(api.close)
            scopes = ["openid", "email", "offline_access"]
            login = {"issuer": issuer.url, "client_id": CLIENT, "scopes": scopes, "audience": None}
            return issuer, api, stack.enter_context(exports_server(login, api.takes))

        yield started


def log_in(issuer: Dex, url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command, whose browser goes through the pages; return its exit code."""
    ended: list[str] = []

    def browse(page: str) -> bool:
        ended.append(issuer.log_in(page))
        return True

    monkeypatch.setattr("webbrowser.open", browse)
    code = main(["login", url, "--name", "dex", "--browser", "--json"])
    assert "Login Successful" in ended[0]
    return code


def test_a_login_at_dex(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, api, server = start()
    assert log_in(issuer, server.url, monkeypatch) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[1])
    assert shown["issuer"] == issuer.url
    assert shown["subject"] == api.callers[-1].subject
    assert api.callers[-1].access.every_project
    assert EMAIL not in json.dumps(shown)

    before = TokenStore().get("dex")
    assert before is not None
    server.refused.add(before.value)
    assert main(["whoami"]) == 0
    after = TokenStore().get("dex")
    assert after is not None
    assert after.value != before.value
    # Dex rotates: the one from before is good no more, and was not used again.
    assert after.refresh_token not in (None, before.refresh_token)
    server.refused.add(after.value)
    assert main(["whoami"]) == 0

    assert main(["logout"]) == 0
    assert "no way to take tokens back" in capsys.readouterr().err


def test_a_token_that_ends_is_renewed_at_dex(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dex makes the token when somebody logs in, and is asked for it up to five seconds later.
    issuer, api, server = start(tokens_valid_for="8s")
    assert log_in(issuer, server.url, monkeypatch) == 0
    kept = TokenStore().get("dex")
    assert kept is not None
    eventually(lambda: not api.takes(kept.value))
    capsys.readouterr()
    assert main(["whoami", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["subject"] == api.callers[-1].subject
    renewed = TokenStore().get("dex")
    assert renewed is not None
    assert renewed.value != kept.value


async def test_the_whole_api_leads_to_dex_and_takes_its_token(
    kubernetes: FakeKubernetes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cli_home.isolate(monkeypatch, tmp_path)
    # There is no cluster: the kubeconfig is that of `kubernetes`.
    monkeypatch.setattr("playground.processes.environment", lambda: dict(os.environ))

    def whole() -> int:
        with dex(tmp_path) as issuer:
            settings = {
                "BACKUPEXPORT_JWT_ALGORITHMS": "RS256",
                "BACKUPEXPORT_JWT_SECRET": "",
                "BACKUPEXPORT_JWT_JWKS_URL": f"{issuer.url}/keys",
                "BACKUPEXPORT_JWT_ISSUER": issuer.url,
                "BACKUPEXPORT_JWT_AUDIENCE": CLIENT,
                "BACKUPEXPORT_TOKENS_WITHOUT_PROJECTS": "all",
                "BACKUPEXPORT_LOGIN_CLIENT_ID": CLIENT,
                "BACKUPEXPORT_LOGIN_SCOPES": "openid offline_access",
                "BACKUPEXPORT_HEALTH_PORT": str(free_port()),
            }
            with local_api(NAMESPACE, tmp_path, settings) as api:
                return log_in(issuer, api.url, monkeypatch)

    # The Kubernetes API is served by this test's own thread.
    assert await asyncio.to_thread(whole) == 0
    code, who = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code["verification_uri"].startswith(who["issuer"])
    assert who["subject"]
    kept = TokenStore().get("dex")
    assert kept is not None
    assert kept.refresh_token
