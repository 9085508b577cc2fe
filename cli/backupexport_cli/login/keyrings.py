"""The system's keyring, where there is one that keeps secrets and answers in time.

A keyring may ask a person to unlock it, or hang for good (a D-Bus service that is away), and has
errors of every kind: each call runs in a thread of its own for a bounded time.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

_SERVICE = "backupexport"
# Long enough to type a password into the keyring's own dialog.
_SECONDS = 30.0
# What keeps nothing, what keeps it in clear, and what would ask for a password of its own on the
# terminal.
_NONE_OF_THESE = ("keyring.backends.fail", "keyring.backends.null", "keyrings.alt")

_Result = TypeVar("_Result")


class KeyringError(Exception):
    """The keyring did not do it; the text is a phrase that says why, without any secret."""


class Keyring:
    """A keyring that keeps secrets."""

    def __init__(self, backend: Any, seconds: float = _SECONDS) -> None:
        self._backend = backend
        self._seconds = seconds

    @classmethod
    def of_system(cls, seconds: float = _SECONDS) -> "Keyring | None":
        """Return the system's; None where it has none that is fit."""
        try:
            backend = _bounded(_usable_backend, seconds)
        except KeyringError:
            return None
        return None if backend is None else cls(backend, seconds)

    def get(self, name: str) -> str | None:
        """Return a secret; None where there is none; raises KeyringError."""
        found = _bounded(lambda: self._backend.get_password(_SERVICE, name), self._seconds)
        return found if isinstance(found, str) else None

    def set(self, name: str, secret: str) -> None:
        """Keep a secret; raises KeyringError."""
        _bounded(lambda: self._backend.set_password(_SERVICE, name, secret), self._seconds)

    def delete(self, name: str) -> None:
        """Remove a secret; raises KeyringError."""
        _bounded(lambda: self._backend.delete_password(_SERVICE, name), self._seconds)


def _usable_backend() -> Any:
    # Late: it looks through all installed packages for backends.
    import keyring  # noqa: PLC0415

    backend = keyring.get_keyring()
    # A chain tries one after the other, also those that keep secrets in clear.
    members = getattr(backend, "backends", None) or [backend]
    return next((member for member in members if is_usable(member)), None)


def is_usable(backend: Any) -> bool:
    """Return whether a backend of the library `keyring` keeps secrets as secrets."""
    kind = type(backend)
    return (
        not kind.__module__.startswith(_NONE_OF_THESE)
        and "plaintext" not in kind.__name__.lower()
        and float(getattr(kind, "priority", 0)) > 0
    )


def _bounded(call: Callable[[], _Result], seconds: float) -> _Result:
    results: list[_Result] = []
    failures: list[str] = []

    def run() -> None:
        try:
            results.append(call())
        # Backends raise whatever their libraries do; its text may hold the secret.
        except BaseException as error:  # noqa: BLE001
            failures.append(type(error).__name__)

    # A daemon: a process doesn't wait for one that hangs.
    thread = threading.Thread(target=run, name="keyring", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    raise KeyringError(failures[0] if failures else f"no answer within {seconds:g} seconds")
