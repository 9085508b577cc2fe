"""Which server and which token a command uses."""

import operator

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login import contexts
from backupexport_cli.login.access import AccessToken, valid_token
from backupexport_cli.login.contexts import Context
from backupexport_cli.login.resolution import Chosen, chosen
from backupexport_cli.login.token_store import TokenStore
from backupexport_cli.login.tokens import Tokens

A = Context("a", "https://a.example")
B = Context("b", "https://b.example")


@pytest.fixture(autouse=True)
def _kept() -> None:
    for context in (B, A):
        contexts.change(operator.methodcaller("having", context))
        TokenStore().put(context.name, Tokens(f"token-of-{context.name}", context.place))


@pytest.mark.parametrize(
    ("url", "name", "environment", "server", "token"),
    [
        (None, None, {}, A.url, "token-of-a"),
        (None, "b", {}, B.url, "token-of-b"),
        (B.url, None, {}, B.url, "token-of-b"),
        (None, "b", {"BACKUPEXPORT_TOKEN": "given"}, B.url, "given"),
        (A.url, "b", {"BACKUPEXPORT_TOKEN": "given"}, A.url, "given"),
        ("https://c.example", None, {"BACKUPEXPORT_TOKEN": "given"}, "https://c.example", "given"),
        # No context's token goes to another server.
        ("https://c.example", None, {}, "https://c.example", None),
        (A.url, "b", {}, A.url, None),
    ],
)
def test_the_choice(
    url: str | None, name: str | None, environment: dict[str, str], server: str, token: str | None
) -> None:
    found = chosen(url, name, environment)
    assert found.context.url == server
    assert (found.bearer.value() if found.bearer else None) == token
    assert found.token_is_given == bool(environment)


def test_a_given_token_needs_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "load", lambda: pytest.fail("the contexts were read"))
    assert isinstance(chosen(A.url, None, {"BACKUPEXPORT_TOKEN": "x"}), Chosen)


def test_no_server_is_known() -> None:
    contexts.change(lambda kept: kept.without("a").without("b"))
    with pytest.raises(CliError, match="No server is known") as caught:
        chosen(None, None, {})
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED


def test_servers_of_which_none_is_chosen_are_not_denied() -> None:
    contexts.change(lambda kept: kept.without(kept.current or ""))
    kept = contexts.load()
    assert kept.current is None
    with pytest.raises(CliError, match="is chosen") as caught:
        chosen(None, None, {})
    assert caught.value.advice == f"Choose one: backupexport contexts use {min(kept.by_name)}"


def test_a_token_does_not_follow_a_context_that_leads_elsewhere() -> None:
    moved = Context("a", "https://evil.example")
    with pytest.raises(CliError, match=r"no token for https://evil\.example") as caught:
        AccessToken(moved).value()
    assert "backupexport login" in caught.value.advice


def test_without_a_refresh_token_nothing_is_renewed() -> None:
    access = AccessToken(A)
    assert access.value() == "token-of-a"
    assert not access.refresh()
    assert "token-of" not in repr(access)


@pytest.mark.parametrize("token", ["abc", " abc\n", "Bearer abc", "bearer  abc "])
def test_the_token_without_what_is_around_it(token: str) -> None:
    assert valid_token(token) == "abc"


@pytest.mark.parametrize("token", ["", " \n", "a b", "a\r\nX: y", "é", '"abc"', "x" * 8193])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(CliError) as caught:
        valid_token(token)
    assert caught.value.exit_code is ExitCode.USAGE
    assert not token.strip() or token not in caught.value.message
