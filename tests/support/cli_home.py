"""A place for the command line's own files that is the test's, and nothing of the machine's."""

from pathlib import Path

import pytest

_OUTER = (
    "BACKUPEXPORT_URL", "BACKUPEXPORT_TOKEN", "BACKUPEXPORT_CONTEXT", "BACKUPEXPORT_JWT_SECRET",
    # What tests/component says for clients without TLS no client of httpx's can read.
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Keep contexts and tokens below `folder`, with no keyring; return where."""
    for name in _OUTER:
        monkeypatch.delenv(name, raising=False)
    home = folder / "config"
    monkeypatch.setenv("BACKUPEXPORT_CONFIG_DIR", str(home))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return home
