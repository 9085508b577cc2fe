"""Reads the keys of the task's Secret, which are files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backupexport_contract import runner_protocol
from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure

# As much as a whole Secret may hold (https://kubernetes.io/docs/concepts/configuration/secret/).
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The values of the well-known keys by key, and of those that `spec.keys` names by part."""

    well_known: Mapping[str, str]
    chosen: Mapping[str, str]


def read_secret(mount: Path, whose: str) -> Secret:
    """Returns what is mounted; `whose` begins the sentences, as in `The target's Secret`.

    Raises Failure: SECRET_MISSING if there is no key, SECRET_INVALID if one holds no text.
    """
    secret = Secret(
        _texts(mount, whose, "the key {}"),
        _texts(mount / runner_protocol.CHOSEN_KEYS, whose, "the key that spec.keys.{} names"),
    )
    if not secret.well_known and not secret.chosen:
        raise Failure(
            ExitCode.SECRET_MISSING,
            f"{whose} isn't there, or has none of the keys that are looked for: create it with "
            "its keys, or correct its name.",
        )
    return secret


def _texts(directory: Path, whose: str, described: str) -> dict[str, str]:
    # The kubelet's own entries begin with a dot; each key is a link into one of them.
    files = [path for path in directory.glob("[!.]*") if path.is_file()]
    return {
        path.name: _text(path, f"{whose} has under {described.format(path.name)}") for path in files
    }


def _text(path: Path, where: str) -> str:
    with path.open("rb") as file:
        value = file.read(_MOST_BYTES + 1)
    if len(value) > _MOST_BYTES:
        raise Failure(ExitCode.SECRET_INVALID, f"{where} more than 1 MiB: put less there.")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    # Neither libpq nor an environment value takes a zero byte.
    if "\0" in text:
        raise Failure(
            ExitCode.SECRET_INVALID, f"{where} bytes that are no text in UTF-8: write it again."
        )
    return text
