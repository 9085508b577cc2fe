"""The commands around tokens that ask no server."""

import json
import operator
import re
from pathlib import Path

import cli_home
import jwt
import pytest
from backupexport_cli.__main__ import main
from backupexport_cli.login import contexts
from backupexport_cli.login.contexts import Context
from backupexport_cli.login.token_store import TokenStore
from backupexport_cli.login.tokens import Tokens

SECRET = "a-secret-of-the-tests-" + "0123456789" * 3
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return cli_home.isolate(monkeypatch, tmp_path)


@pytest.fixture
def two_servers() -> None:
    for name in ("a", "b"):
        context = Context(name, f"https://{name}.example")
        contexts.change(operator.methodcaller("having", context))
        TokenStore().put(name, Tokens(f"token-of-{name}", context.place))


def test_a_token_from_a_secret_in_a_file(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    arguments = ["token", "--subject", "ci", "--project", "p", "--project=-q"]
    assert main([*arguments, "--ttl", "2h", "--secret-file", str(file)]) == 0
    out, err = capsys.readouterr()
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["projects"]) == ("ci", ["p", "-q"])
    assert "good for 2h" in err
    assert out.strip() not in err


def test_a_token_from_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("BACKUPEXPORT_JWT_SECRET", SECRET)
    assert main(["token", "--subject", "ci", "--all-projects", "--json"]) == 0
    token = json.loads(capsys.readouterr().out)["token"]
    assert jwt.decode(token, SECRET, algorithms=["HS256"])["projects"] == ["*"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--all-projects"], "no secret to sign with"),
        (["--all-projects", "--secret-file", "/nowhere"], "can't be read"),
        ([], "for every project"),
        (["--all-projects", "--projects-claim", "exp"], "another meaning"),
    ],
)
def test_a_token_that_can_not_be_made(more: list[str], words: str, capsys: Captured) -> None:
    assert main(["token", "--subject", "ci", *more]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""


def test_a_secret_is_not_cut(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x" * (64 * 1024 + 1))
    arguments = ["token", "--subject", "ci", "--all-projects", "--secret-file", str(file)]
    assert main(arguments) == 2
    assert "longer than" in capsys.readouterr().err
    file.write_bytes(b"x" * (64 * 1024))
    assert main(arguments) == 0


@pytest.mark.usefixtures("two_servers")
def test_a_context_that_is_only_used_does_not_lead_elsewhere_by_a_login(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("BACKUPEXPORT_CONTEXT", "a")
    assert main(["login", "https://other.example", "--token", "x"]) == 2
    assert "a leads to https://a.example" in capsys.readouterr().err
    assert contexts.load().by_name["a"].url == "https://a.example"


@pytest.mark.usefixtures("two_servers")
def test_contexts_are_listed_used_and_removed(capsys: Captured) -> None:
    assert main(["contexts"]) == 0
    assert capsys.readouterr().out == "  a  https://a.example\n* b  https://b.example\n"
    assert main(["contexts", "use", "a"]) == 0
    assert main(["contexts", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["current"] for each in shown] == [True, False]
    assert main(["contexts", "remove", "a"]) == 0
    assert TokenStore().get("a") is None
    assert main(["contexts", "use", "a"]) == 4
    assert main(["contexts", "drop", "a"]) == 2
    assert main(["contexts", "use"]) == 2


@pytest.mark.usefixtures("two_servers")
def test_logout_forgets_the_token_and_keeps_the_server(capsys: Captured) -> None:
    assert main(["logout", "a"]) == 0
    assert TokenStore().get("a") is None
    assert TokenStore().get("b") is not None
    assert main(["logout", "--all"]) == 0
    assert TokenStore().get("b") is None
    assert set(contexts.load().by_name) == {"a", "b"}
    assert "token-of" not in "".join(capsys.readouterr())
    assert main(["logout", "c"]) == 4


def test_logout_with_nothing_to_forget(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("BACKUPEXPORT_TOKEN", "given")
    assert main(["logout"]) == 0
    err = capsys.readouterr().err
    assert "nothing to forget" in err
    assert "BACKUPEXPORT_TOKEN" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["login"], "No server is known yet"),
        (["login", "exports.example"], "not one of the web"),
        (["login", "http://exports.example"], "http://"),
        (["login", "https://a.example", "--release", "r"], "for --kube"),
        (["login", "https://a.example", "--kube"], "With --kube"),
        (["login", "https://a.example", "--name", "a b", "--token", "x"], "context's name"),
        (["login", "https://a.example", "--token", "a b"], "no token has"),
        (["login", "https://a.example", "--token", ""], "The token is empty"),
    ],
)
def test_a_login_that_can_not_begin(arguments: list[str], words: str, capsys: Captured) -> None:
    assert main(arguments) == 2
    assert re.search(words, capsys.readouterr().err)


def test_a_context_of_kubernetes_says_how_to_log_in_again(capsys: Captured) -> None:
    context = Context(
        "k", "", kube_context="kind", kube_namespace="exports", kube_service="demo-api"
    )
    contexts.change(operator.methodcaller("having", context))
    assert main(["login"]) == 2
    err = capsys.readouterr().err
    assert "`backupexport --kube -n exports login --kubeconfig-context kind --name k`" in err


def test_whoami_is_about_a_servers_token(capsys: Captured) -> None:
    assert main(["whoami", "--kube"]) == 2
    assert "Leave out --kube" in capsys.readouterr().err
