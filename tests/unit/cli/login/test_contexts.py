"""The list of servers."""

from dataclasses import replace
from pathlib import Path

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login import contexts
from backupexport_cli.login.contexts import Context, Contexts

WEB = Context("web", "https://exports.example", "https://issuer.example", "cli")
CLUSTER = Context("kind", "", kube_context="kind", kube_namespace="ns", kube_service="r-api")


def test_what_is_kept_is_what_is_loaded(home: Path) -> None:
    contexts.change(lambda kept: kept.having(WEB))
    contexts.change(lambda kept: kept.having(CLUSTER))
    assert contexts.load() == Contexts({"web": WEB, "kind": CLUSTER}, "kind")
    assert (home / "contexts.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in home.iterdir()) == ["contexts.json", "contexts.lock"]


def test_there_are_none_at_first() -> None:
    assert contexts.load() == Contexts({}, None)
    assert contexts.load().find() is None


def test_an_unknown_name_is_told_the_known_ones() -> None:
    kept = Contexts({"web": WEB}, "web")
    assert kept.find() is WEB
    with pytest.raises(CliError, match="no context other") as caught:
        kept.find("other")
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    assert "web" in caught.value.advice
    with pytest.raises(CliError):
        kept.using("other")


def test_removing_the_current_one_leaves_none_current() -> None:
    kept = Contexts({"web": WEB, "kind": CLUSTER}, "web")
    assert kept.without("web") == Contexts({"kind": CLUSTER}, None)
    assert kept.without("kind").current == "web"


@pytest.mark.parametrize(
    "text",
    [
        '{"current": ["web"], "contexts": {"web": 1}}',
        '{"contexts": []}',
        '{"current": "gone", "contexts": {"web": {"url": 1, "kube": [], "issuer": {}}}}',
    ],
)
def test_a_file_with_other_types_breaks_nothing(home: Path, text: str) -> None:
    write(home, text)
    assert contexts.load().current is None


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00"])
def test_a_file_that_is_none_of_ours_is_told(home: Path, text: str) -> None:
    write(home, text)
    with pytest.raises(CliError, match=r"contexts\.json is not what"):
        contexts.load()


def write(home: Path, text: str) -> None:
    home.mkdir(mode=0o700)
    (home / "contexts.json").write_text(text)
    (home / "contexts.json").chmod(0o600)


@pytest.mark.parametrize(
    ("base", "name"),
    [("new.example", "new.example"), ("::1", "1"), ("web", "web-2"), ("--", "default")],
)
def test_the_name_of_a_new_server(base: str, name: str) -> None:
    kept = Contexts({"web": WEB, "kind": CLUSTER})
    assert contexts.named(kept, Context("", "https://new.example"), base).name == name


@pytest.mark.parametrize("known", [WEB, CLUSTER])
def test_a_server_that_is_known_keeps_its_name(known: Context) -> None:
    kept = Contexts({"web": WEB, "kind": CLUSTER})
    assert contexts.named(kept, replace(known, name=""), "other") == known


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a" * 101, "a\n", "\x1b[1m"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(CliError, match="context's name"):
        contexts.valid_name(name)
