"""The private keys that decrypt a file, read from files as age takes them."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.failures import local_failure

_MOST_BYTES = 1024 * 1024
_AGE_LINE = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{1,200}")
_PASSPHRASE = (
    b"age-encryption.org/v1",
    b"-----BEGIN AGE ENCRYPTED FILE-----",
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
)


def read_identities(paths: Sequence[Path]) -> list[Any]:
    """Return pyrage's identities; raises CliError, which never tells what is in the file."""
    return [identity for path in paths for identity in _identities(path, _content(path))]


def _content(path: Path) -> bytes:
    try:
        # Not to hang at a pipe that nobody writes into.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise CliError(
            ExitCode.USAGE,
            f"There is no identity file {path}.",
            "Name the file that age-keygen or ssh-keygen has written.",
        ) from None
    except OSError as error:
        raise local_failure(error, path, "read") from None
    return content or b""


def _identities(path: Path, content: bytes) -> list[Any]:
    import pyrage  # noqa: PLC0415 - a shared library, which most commands don't need

    if content.startswith(_PASSPHRASE):
        raise _with_passphrase(path)
    if content.lstrip().startswith(b"-----BEGIN"):
        try:
            return [pyrage.ssh.Identity.from_buffer(content)]
        except pyrage.IdentityError as error:
            # Of OpenSSH's own format, and of PEM's.
            if "decrypted first" in str(error) or b"ENCRYPTED" in content:
                raise _with_passphrase(path) from None
            raise _none(path) from None
    found = []
    for line in content.decode("utf-8", "replace").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            if not _AGE_LINE.fullmatch(text):
                raise _none(path)
            found.append(pyrage.x25519.Identity.from_str(text))
        except pyrage.IdentityError:
            raise _none(path) from None
    if not found:
        raise _none(path)
    return found


def _with_passphrase(path: Path) -> CliError:
    return CliError(
        ExitCode.USAGE,
        f"The identity in {path} is protected by a passphrase, which is not asked for here.",
        "Fetch the encrypted file without --identity, and decrypt it: age -d -i KEY -o OUT FILE",
    )


def _none(path: Path) -> CliError:
    return CliError(
        ExitCode.USAGE,
        f"{path} has no identity that is understood here.",
        "Name a file of age-keygen (AGE-SECRET-KEY-1…), or a private key of ssh (ed25519 or RSA).",
    )
