"""The body of a request for an export, from the options of `export`; pure but for recipients."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from backupexport_contract import rules

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.clean import clean

OPTION_OF_FIELD = {
    "project_id": "PROJECT",
    "format": "--format",
    "content": "--content",
    "include_schemas": "--schema",
    "exclude_schemas": "--exclude-schema",
    "include_tables": "--table",
    "exclude_tables": "--exclude-table",
    "exclude_table_data": "--exclude-table-data",
    "owner": "--no-owner",
    "privileges": "--no-privileges",
    "compress": "--no-compress",
    "compression": "--compression",
    "encrypt_to": "--encrypt-to",
    "storage_path": "--storage-path",
    "notify_email": "--email",
}
"""Every field of the request, and how it is given."""

_PATTERNS = (rules.PATTERN, rules.MOST_PATTERNS)
_LISTS = {
    "include_schemas": _PATTERNS,
    "exclude_schemas": _PATTERNS,
    "include_tables": _PATTERNS,
    "exclude_tables": _PATTERNS,
    "exclude_table_data": _PATTERNS,
    "encrypt_to": (rules.RECIPIENT, rules.MOST_RECIPIENTS),
}
_TEXTS = {
    "project_id": rules.PROJECT_ID,
    "storage_path": rules.STORAGE_PATH,
    "notify_email": rules.EMAIL,
}
_LARGEST_RECIPIENTS_FILE = 64 * 1024


def export_request(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body: what was given, checked; raises CliError at the first thing that is wrong.

    What was not given (None, or an empty list) is left to the server.
    """
    body = {name: value for name, value in fields.items() if value is not None and value != []}
    if body.get("compress") is False and "compression" in body:
        raise _wrong("--compression", "makes no sense with --no-compress")
    for name, rule in _TEXTS.items():
        if name in body:
            _check(name, rule, body[name])
    for name, (rule, most) in _LISTS.items():
        values = body.get(name, [])
        if len(values) > most:
            raise _wrong(OPTION_OF_FIELD[name], f"can be given at most {most} times")
        for value in values:
            _check(name, rule, value)
    return body


def recipients(given: Sequence[str]) -> list[str]:
    """Return recipients of age, those of files (`@FILE`) among them; raises CliError."""
    return [each for text in given for each in (_of_file(text) if text[:1] == "@" else [text])]


def _of_file(text: str) -> Iterator[str]:
    path = Path(text[1:]).expanduser()
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_RECIPIENTS_FILE + 1)
    except OSError as error:
        raise CliError(
            ExitCode.USAGE,
            f"{path} can't be read: {error.strerror}.",
            "Name a file with recipients of age, or a public key of ssh, after the @.",
        ) from None
    if len(content) > _LARGEST_RECIPIENTS_FILE or not content.isascii():
        raise CliError(
            ExitCode.USAGE,
            f"{path} holds no recipients.",
            "Name a file with recipients of age, or a public key of ssh, after the @.",
        )
    if b"AGE-SECRET-KEY-" in content or b"PRIVATE KEY" in content:
        raise CliError(
            ExitCode.USAGE,
            f"{path} holds a private key.",
            "Name the public one, which may be given away; for ssh its name ends in .pub.",
        )
    for line in content.decode().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def _check(name: str, rule: tuple[rules.Rule, ...], value: str) -> None:
    broken = rules.first_broken(rule, value)
    if broken is not None:
        raise _wrong(OPTION_OF_FIELD[name], f"{clean(broken.message)}")


def _wrong(option: str, message: str) -> CliError:
    return CliError(
        ExitCode.USAGE, f"{option} {message}.", "See what it takes: backupexport export --help"
    )
