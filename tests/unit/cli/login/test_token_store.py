"""Where tokens are kept."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login import keyrings
from backupexport_cli.login.keyrings import Keyring, KeyringError
from backupexport_cli.login.token_store import TokenStore
from backupexport_cli.login.tokens import Origin, Tokens
from keyring.backends import fail, null

ORIGIN = Origin("cli", "https://issuer.example/token", "https://issuer.example/revoke", "aud")
TOKENS = Tokens("the-token", "https://exports.example", "the-refresh-token", ORIGIN)


class Backend:
    """A keyring in memory."""

    priority = 5

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, name: str) -> str | None:
        self._check()
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        self._check()
        self.kept[service, name] = secret

    def delete_password(self, service: str, name: str) -> None:
        self._check()
        del self.kept[service, name]

    def _check(self) -> None:
        if self.locked:
            raise PermissionError("locked: the-token")


class HangingBackend(Backend):
    """Never answers, until the test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def _check(self) -> None:
        self.over.wait()


BACKEND = Backend()


@pytest.fixture
def hanging() -> Iterator[HangingBackend]:
    backend = HangingBackend()
    yield backend
    backend.over.set()


def test_without_a_keyring_tokens_are_in_a_private_file(home: Path) -> None:
    store = TokenStore()
    assert store.put("a", TOKENS) == "file"
    assert TokenStore().get("a") == TOKENS
    assert (home / "tokens.json").stat().st_mode & 0o777 == 0o600
    (home / "tokens.json").chmod(0o644)
    with pytest.raises(CliError, match="open to other users"):
        store.get("a")


def test_a_keyring_has_all_of_them() -> None:
    backend = Backend()
    store = TokenStore(keyring=lambda: Keyring(backend))
    assert store.put("a", TOKENS) == "keyring"
    assert store.get("a") == TOKENS
    assert "the-" not in store.file.read_text()
    assert store.remove("a")
    assert backend.kept == {}
    assert store.get("a") is None
    assert not store.remove("a")


def test_a_keyring_that_fails_is_replaced_by_the_file() -> None:
    backend = Backend()
    backend.locked = True
    store = TokenStore(keyring=lambda: Keyring(backend))
    assert store.put("a", TOKENS) == "file"
    assert store.get("a") == TOKENS


def test_a_keyring_that_is_locked_later_says_what_to_do() -> None:
    backend = Backend()
    store = TokenStore(keyring=lambda: Keyring(backend))
    store.put("a", TOKENS)
    backend.locked = True
    with pytest.raises(CliError) as caught:
        store.get("a")
    assert caught.value.exit_code is ExitCode.NOT_ALLOWED
    assert "the-token" not in caught.value.message
    assert "BACKUPEXPORT_TOKEN" in caught.value.advice
    assert not store.remove("a")
    assert store.get("a") is None


@pytest.mark.parametrize("keyring", [lambda: None, lambda: Keyring(BACKEND)])
def test_a_renewal_replaces_what_was_renewed_and_nothing_else(
    keyring: Callable[[], Keyring | None],
) -> None:
    store, new = TokenStore(keyring=keyring), replace(TOKENS, value="new")
    assert not store.renew("a", TOKENS, new)
    assert store.get("a") is None
    store.put("a", TOKENS)
    assert store.renew("a", TOKENS, new)
    assert not store.renew("a", TOKENS, replace(TOKENS, value="newer"))
    assert store.get("a") == new
    taken = store.take("a")
    assert (taken.tokens, taken.is_gone, taken.trouble) == (new, True, "")


def test_of_two_folders_each_has_its_own_tokens_in_the_keyring(tmp_path: Path) -> None:
    backend = Backend()
    one, two = (TokenStore(tmp_path / name, lambda: Keyring(backend)) for name in "ab")
    one.put("x", TOKENS)
    two.put("x", replace(TOKENS, value="other"))
    assert one.get("x") == TOKENS
    assert two.remove("x")
    assert one.get("x") == TOKENS


def test_a_renewal_is_kept_although_the_keyring_was_locked_since() -> None:
    backend = Backend()
    store, new = TokenStore(keyring=lambda: Keyring(backend)), replace(TOKENS, value="new")
    store.put("a", TOKENS)
    backend.locked = True
    assert store.renew("a", TOKENS, new)
    assert store.get("a") == new


def test_a_keyring_that_hangs_is_not_waited_for(hanging: HangingBackend) -> None:
    store = TokenStore(keyring=lambda: Keyring(hanging, seconds=0.05))
    assert store.put("a", TOKENS) == "file"
    with pytest.raises(KeyringError, match="no answer"):
        Keyring(hanging, seconds=0.05).get("a")


def test_the_file_alone_is_read_where_it_has_the_token() -> None:
    TokenStore().put("a", TOKENS)

    def no_keyring() -> Keyring | None:
        raise AssertionError("a keyring was loaded")

    assert TokenStore(keyring=no_keyring).get("a") == TOKENS


@pytest.mark.parametrize("entry", ['"x"', "[]", '{"token": 1}', "null", '{"url": "x"}'])
def test_an_entry_that_is_none_is_no_token(home: Path, entry: str) -> None:
    home.mkdir(mode=0o700)
    (home / "tokens.json").write_text(f'{{"a": {entry}}}')
    (home / "tokens.json").chmod(0o600)
    assert TokenStore().get("a") is None


class PlaintextKeyring(Backend):
    """Its name says it."""


class Useless(Backend):
    """Says itself that it is of no use."""

    priority = 0


@pytest.mark.parametrize("kind", [fail.Keyring, null.Keyring, PlaintextKeyring, Useless])
def test_what_keeps_no_secret_is_no_keyring(kind: type) -> None:
    assert not keyrings.is_usable(kind())
    assert keyrings.is_usable(Backend())


def test_of_a_chain_the_first_that_keeps_secrets_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Chain(Backend):
        backends = (PlaintextKeyring(), Backend())

    monkeypatch.setattr("keyring.get_keyring", Chain)
    found = Keyring.of_system()
    assert found is not None
    found.set("a", "secret")
    assert Chain.backends[1].kept
    assert not Chain.backends[0].kept


def test_a_library_that_can_not_find_its_backends_is_no_keyring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise RuntimeError("no D-Bus")

    monkeypatch.setattr("keyring.get_keyring", broken)
    assert Keyring.of_system() is None


def test_no_text_shows_a_token() -> None:
    assert "the-" not in repr(TOKENS) + str(TOKENS)
