"""Decrypts a fetched file beside it; what is not whole has no final name."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.failures import local_failure
from backupexport_cli.files.partial_file import give_name

_WRONG_KEY = "No matching keys found"


def decrypt_file(encrypted: Path, target: Path, identities: Sequence[Any], *, force: bool) -> None:
    """Write what is in `encrypted` to `target`; raises CliError, and then there is no `target`."""
    try:
        descriptor, name = tempfile.mkstemp(
            prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent
        )
    except OSError as error:
        raise local_failure(error, target) from None
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            try:
                with encrypted.open("rb") as source:
                    decrypt(source, stream, identities, encrypted.name)
            finally:
                _sync(stream)
        give_name(written, target, force=force)
    except OSError as error:
        raise local_failure(error, target) from None
    finally:
        with suppress(OSError):
            written.unlink(missing_ok=True)


def decrypt(source: Any, target: Any, identities: Sequence[Any], name: str) -> None:
    """Decrypt a stream; raises CliError where no identity fits (2) or it is damaged (6)."""
    import pyrage  # noqa: PLC0415 - a shared library, which most commands don't need

    try:
        pyrage.decrypt_io(source, target, identities)
    except pyrage.DecryptError as error:
        if _WRONG_KEY in str(error):
            raise CliError(
                ExitCode.USAGE,
                f"{name} is not encrypted to any of the identities.",
                "Name the identity of a recipient with --identity.",
            ) from None
        raise _damaged(name) from None
    except OSError as error:
        # pyrage has one type for a stream that can't be decrypted and for a disk that is full.
        if error.errno is None and "decryption" in str(error):
            raise _damaged(name) from None
        raise


def _damaged(name: str) -> CliError:
    return CliError(
        ExitCode.CORRUPT,
        f"{name} can't be decrypted: it was encrypted wrongly, or damaged.",
        "Ask for a new export, and tell the server's administrators.",
    )


def _sync(stream: BinaryIO | Any) -> None:
    os.fsync(stream.fileno())
