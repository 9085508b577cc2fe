"""Where keys come from while the API runs: the configuration, or a URL that may be down."""

from typing import Protocol

from backupexport_api.signing_keys import KeySet


class KeysUnavailableError(Exception):
    """There are no keys to judge a token by, through no fault of the token."""


class KeySource(Protocol):
    """Keys, now and later."""

    def current(self) -> KeySet:
        """Tell the keys, without waiting; KeysUnavailableError where there are none.

        It is the same object for as long as the keys are the same.
        """

    async def refreshed(self) -> bool:
        """Look for newer keys, where that is due; False where nothing was done."""

    def unready(self) -> list[str]:
        """List what keeps the keys from being used, a phrase each; empty when all is well."""


class ConfiguredKeys:
    """Keys that are the same until the process ends."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def current(self) -> KeySet:
        """Tell the keys."""
        return self._keys

    async def refreshed(self) -> bool:
        """Do nothing."""
        return False

    def unready(self) -> list[str]:
        """Nothing ever is."""
        return []
