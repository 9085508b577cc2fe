"""Where a session leads to."""

from pathlib import Path

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.exports import KubeExports
from backupexport_cli.login import contexts
from backupexport_cli.login.contexts import Context, Contexts
from backupexport_cli.service.http import GivenToken
from backupexport_cli.service.rest import RestExports
from backupexport_cli.session import GlobalOptions, Session, server_url

URL = "https://exports.example.com"


@pytest.fixture(autouse=True)
def _own_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "config_directory", lambda: tmp_path)


def _session(**options: object) -> Session:
    given: dict[str, object] = {"environment": {"BACKUPEXPORT_TOKEN": "t"}} | options
    return Session(GlobalOptions(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (URL, URL),
        (f" {URL}/ ", URL),
        (f"{URL}:8443/backups/", f"{URL}:8443/backups"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_address_is_taken_without_what_makes_no_difference(text: str, url: str) -> None:
    assert server_url(text, allow_http=False) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "exports.example.com", "ftp://x", "https://", "https://u:p@x", "https://u@x",
        "https://x:99999", "https://x?a", "https://x#a", "http://x", "http://localhost.evil.com",
        "http://127.0.0.1.evil.com", "http://127.0.0.1@evil.com", "https://[",
    ],
)  # fmt: skip
def test_an_address_to_which_no_token_may_go_is_refused(text: str) -> None:
    with pytest.raises(CliError) as caught:
        server_url(text, allow_http=False)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "u:p" not in caught.value.message


def test_http_is_taken_where_the_user_says_so() -> None:
    assert server_url("http://x", allow_http=True) == "http://x"


def test_exports_are_asked_of_the_api_or_of_kubernetes() -> None:
    session = _session(url=URL)
    assert isinstance(session.exports(), RestExports)
    assert session.exports() is session.rest()
    session.close()
    assert isinstance(_session(kube=True).exports(), KubeExports)


def test_without_a_server_the_login_is_named() -> None:
    with pytest.raises(CliError) as caught:
        _session(environment={}).rest()
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED
    assert "backupexport login" in caught.value.advice


def test_who_has_only_a_moment_gets_nothing_of_kubectl() -> None:
    with pytest.raises(CliError):
        _session(kube=True, is_hurried=True).exports()


def _kept(*names: str) -> None:
    def with_them(kept: Contexts) -> Contexts:
        for name in names:
            cluster, _, namespace = name.partition("-")
            kept = kept.having(
                Context(
                    name, "",
                    kube_context=cluster, kube_namespace=namespace, kube_service="release-api",
                )
            )  # fmt: skip
        return kept

    contexts.change(with_them)


def test_an_installations_token_is_that_of_the_context_that_leads_there() -> None:
    _kept("a-one", "a-two", "b-one")
    session = _session(environment={})
    for cluster, namespace in (("a", "one"), ("a", "two"), ("b", "one")):
        token = session._bearer_in_cluster(cluster, namespace, "release-api")
        assert repr(token) == f"AccessToken('{cluster}-{namespace}')"
    given = _session()._bearer_in_cluster("a", "one", "release-api")
    assert isinstance(given, GivenToken)


@pytest.mark.parametrize(
    "there",
    [("a", "one", "other-api"), ("a", "two", "release-api"), ("b", "one", "release-api")],
    ids=["another service", "another namespace", "another cluster"],
)
def test_an_installation_without_a_token_leads_to_its_login(there: tuple[str, str, str]) -> None:
    _kept("a-one")
    with pytest.raises(CliError) as caught:
        _session(environment={})._bearer_in_cluster(*there)
    assert "--kube" in caught.value.advice
