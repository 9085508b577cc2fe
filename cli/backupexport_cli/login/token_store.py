"""Where tokens are kept: in the system's keyring, else in one file for the user alone.

The file says for each context where its tokens are, so that a keyring, which takes long to load
and may ask for a password, is asked only where it has something.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login.keyrings import Keyring, KeyringError
from backupexport_cli.login.places import config_directory
from backupexport_cli.login.private_files import lock, read_json, write_json
from backupexport_cli.login.tokens import Tokens

Place = Literal["keyring", "file"]

_FILE, _LOCK = "tokens.json", "tokens.lock"
_IN_KEYRING = "keyring"


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of a context's tokens."""

    tokens: Tokens | None
    """Those that there were; None where there were none, or none that could be read."""
    is_gone: bool
    """Whether there were any, and none are left."""
    trouble: str = ""
    """Why they could not be read."""


class TokenStore:
    """The tokens of all contexts."""

    def __init__(
        self, folder: Path | None = None, keyring: Callable[[], Keyring | None] = Keyring.of_system
    ) -> None:
        """`keyring` is asked for one when it is needed."""
        self._folder = folder or config_directory()
        self._keyring = keyring

    def _key(self, name: str) -> str:
        """Return what a context's tokens are called in a keyring, which is one for all folders."""
        return f"{name} ({self._folder.absolute()})"

    @property
    def file(self) -> Path:
        """Where tokens are that are in no keyring."""
        return self._folder / _FILE

    def get(self, name: str) -> Tokens | None:
        """Return a context's tokens; None where there are none; raises CliError."""
        return self._tokens_of(name, self._entries().get(name))

    def _tokens_of(self, name: str, entry: Any) -> Tokens | None:
        if entry != _IN_KEYRING:
            return Tokens.of_document(entry)
        keyring = self._keyring()
        if keyring is None:
            raise _keyring_fails("there is none that can be used here")
        try:
            text = keyring.get(self._key(name))
        except KeyringError as error:
            raise _keyring_fails(str(error)) from None
        return None if text is None else _parsed(text)

    def put(self, name: str, tokens: Tokens) -> Place:
        """Keep a context's tokens instead of those that it had, and return where they are."""
        with self.turn(), self._changing() as entries:
            return self._kept_in(entries, name, tokens)

    def renew(self, name: str, old: Tokens, new: Tokens) -> bool:
        """Keep a context's tokens instead of `old`, with the turn held; return whether it was so.

        Where others are there by now, or none, they stay.
        """
        with self._changing() as entries:
            entry = entries.get(name)
            try:
                is_old = self._tokens_of(name, entry) == old
            except CliError:
                # The keyring was locked since: what was in it can be told by nobody, and `old` is
                # of no more use.
                is_old = entry == _IN_KEYRING
            if is_old:
                self._kept_in(entries, name, new)
            return is_old

    def remove(self, name: str) -> bool:
        """Forget a context's tokens; return whether there were any, and none are left."""
        return self.take(name).is_gone

    def take(self, name: str) -> Removed:
        """Forget a context's tokens, and return what there was."""
        with self.turn(), self._changing() as entries:
            entry = entries.pop(name, None)
            try:
                tokens, trouble = self._tokens_of(name, entry), ""
            except CliError as error:
                tokens, trouble = None, error.message
            if entry != _IN_KEYRING:
                return Removed(tokens, is_gone=entry is not None)
            keyring = self._keyring()
            is_gone = keyring is not None and _try_delete(keyring, self._key(name))
            return Removed(tokens, is_gone=is_gone, trouble=trouble)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn to renew tokens: of two processes one asks, the other takes its result.

        Who logs in or out waits for it, too, so that no tokens of a login before come after.
        """
        with lock(self._folder / "refresh.lock"):
            yield

    def _kept_in(self, entries: dict[str, Any], name: str, tokens: Tokens) -> Place:
        was_in_keyring = entries.get(name) == _IN_KEYRING
        keyring = self._keyring()
        if keyring is not None:
            try:
                keyring.set(self._key(name), json.dumps(tokens.to_document()))
            except KeyringError:
                # Locked, or too small: Windows keeps 1280 characters.
                if was_in_keyring:
                    _try_delete(keyring, self._key(name))
            else:
                entries[name] = _IN_KEYRING
                return "keyring"
        entries[name] = tokens.to_document()
        return "file"

    def _entries(self) -> dict[str, Any]:
        return read_json(self.file)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        with lock(self._folder / _LOCK):
            entries = self._entries()
            yield entries
            write_json(self.file, entries)


def _parsed(text: str) -> Tokens | None:
    try:
        return Tokens.of_document(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _try_delete(keyring: Keyring, key: str) -> bool:
    try:
        keyring.delete(key)
    except KeyringError:
        return False
    return True


def _keyring_fails(why: str) -> CliError:
    return CliError(
        ExitCode.NOT_ALLOWED,
        f"The token is in the system's keyring, which can't be read ({why}).",
        "Unlock the keyring, or log in again, or give a token in BACKUPEXPORT_TOKEN.",
    )
