from enum import StrEnum
from pathlib import Path
from typing import get_args

import pytest
from backupexport_api.jobs.request import ExportRequest
from backupexport_cli.commands import export as export_options
from backupexport_cli.commands.export_request import (
    OPTION_OF_FIELD,
    export_request,
    recipients,
)
from backupexport_cli.errors import CliError, ExitCode
from backupexport_contract.fields import Compression, Content, Format
from typer.main import get_command_from_info
from typer.models import CommandInfo

AGE = "age1" + "q" * 58
EVERYTHING = {
    "project_id": "shop",
    "format": "custom",
    "content": "data",
    "include_schemas": ["a"],
    "exclude_schemas": ["b"],
    "include_tables": ["c"],
    "exclude_tables": ["d"],
    "exclude_table_data": ["e"],
    "owner": False,
    "privileges": False,
    "compress": True,
    "compression": "gzip",
    "encrypt_to": [AGE],
    "storage_path": "before/migration",
    "notify_email": "ops@example.com",
}


def test_every_field_of_the_request_is_an_option_and_no_other() -> None:
    assert OPTION_OF_FIELD.keys() == ExportRequest.model_fields.keys() == EVERYTHING.keys()


def test_every_option_is_there() -> None:
    info = CommandInfo(name="export", callback=export_options.export)
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    known = {name for parameter in command.params for name in parameter.opts}
    assert set(OPTION_OF_FIELD.values()) - known == {"PROJECT"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (export_options.Format, Format),
        (export_options.Content, Content),
        (export_options.Compression, Compression),
    ],
)
def test_the_choices_are_the_contracts(ours: type[StrEnum], theirs: object) -> None:
    assert tuple(each.value for each in ours) == get_args(theirs)


def test_all_that_is_given_is_asked_for() -> None:
    assert export_request(EVERYTHING) == EVERYTHING


def test_what_is_not_given_is_left_to_the_server() -> None:
    assert export_request(
        dict.fromkeys(EVERYTHING) | {"project_id": "shop", "include_tables": []}
    ) == {"project_id": "shop"}


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"project_id": "a b"}, "PROJECT"),
        ({"storage_path": "/etc"}, "--storage-path"),
        ({"storage_path": "../other"}, "--storage-path"),
        ({"notify_email": "nobody"}, "--email"),
        ({"include_tables": ["a\nb"]}, "--table"),
        ({"exclude_table_data": [""]}, "--exclude-table-data"),
        ({"include_schemas": ["a"] * 101}, "--schema"),
        ({"encrypt_to": ["age1short"]}, "--encrypt-to"),
        ({"compress": False, "compression": "zstd"}, "--compression"),
    ],
)
def test_what_is_wrong_is_told_by_the_options_name(changes: dict[str, object], option: str) -> None:
    with pytest.raises(CliError) as caught:
        export_request({"project_id": "shop"} | changes)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.message.startswith(f"{option} ")


def test_recipients_come_from_files_too(tmp_path: Path) -> None:
    file = tmp_path / "keys.pub"
    file.write_text(f"# of the team\n\n{AGE}\nssh-ed25519 AAAA me@laptop\n")
    assert recipients([AGE, f"@{file}"]) == [AGE, AGE, "ssh-ed25519 AAAA me@laptop"]


@pytest.mark.parametrize(
    "content", ["AGE-SECRET-KEY-1ABC\n", "-----BEGIN OPENSSH PRIVATE KEY-----\n"]
)
def test_a_private_key_goes_nowhere(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(CliError) as caught:
        recipients([f"@{file}"])
    assert "private key" in caught.value.message
    assert content.strip() not in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="missing"):
        recipients([f"@{tmp_path / 'missing'}"])
    with pytest.raises(CliError, match="can't be read"):
        recipients([f"@{tmp_path}"])


def test_a_file_of_anything_else_is_refused(tmp_path: Path) -> None:
    for content in (b"x" * 100_000, b"\xff\x00"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CliError, match="no recipients"):
            recipients([f"@{tmp_path / 'file'}"])
