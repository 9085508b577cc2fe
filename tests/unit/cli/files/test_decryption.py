"""Decrypting beside the encrypted file."""

import random
import tracemalloc
from pathlib import Path

import pyrage
import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.decryption import decrypt_file

KEY, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
CONTENT = random.Random(3).randbytes(1_000_000)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    path = tmp_path / "dump.sql.age"
    path.write_bytes(pyrage.encrypt(CONTENT, [KEY.to_public()]))
    return path


def test_a_fitting_key_gives_the_content(encrypted: Path, tmp_path: Path) -> None:
    target = tmp_path / "dump.sql"

    decrypt_file(encrypted, target, [OTHER, KEY], force=False)

    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == ["dump.sql", "dump.sql.age"]


def test_another_key_is_wrong_usage_and_leaves_nothing(encrypted: Path, tmp_path: Path) -> None:
    with pytest.raises(CliError, match="not encrypted to any") as raised:
        decrypt_file(encrypted, tmp_path / "dump.sql", [OTHER], force=False)

    assert raised.value.exit_code is ExitCode.USAGE
    assert names_in(tmp_path) == ["dump.sql.age"]


@pytest.mark.parametrize("at", [0, 150, 400_000, 900_000, None])
def test_what_is_damaged_leaves_nothing(encrypted: Path, tmp_path: Path, at: int | None) -> None:
    content = bytearray(encrypted.read_bytes())
    if at is None:
        del content[700_000:]
    else:
        content[at] ^= 1
    encrypted.write_bytes(content)

    with pytest.raises(CliError, match="can't be decrypted") as raised:
        decrypt_file(encrypted, tmp_path / "dump.sql", [KEY], force=False)

    assert raised.value.exit_code is ExitCode.CORRUPT
    assert names_in(tmp_path) == ["dump.sql.age"]


def test_a_file_in_the_way_is_spared_without_force(encrypted: Path, tmp_path: Path) -> None:
    target = tmp_path / "dump.sql"
    target.write_bytes(b"mine")

    with pytest.raises(CliError, match="is there already"):
        decrypt_file(encrypted, target, [KEY], force=False)
    assert target.read_bytes() == b"mine"

    decrypt_file(encrypted, target, [KEY], force=True)
    assert target.read_bytes() == CONTENT


def test_a_full_disk_is_told_as_one(encrypted: Path) -> None:
    with pytest.raises(CliError, match="can't be written"):
        decrypt_file(encrypted, Path("/proc/none/dump.sql"), [KEY], force=False)


def test_memory_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "large.age"
    path.write_bytes(pyrage.encrypt(bytes(20_000_000), [KEY.to_public()]))
    tracemalloc.start()

    decrypt_file(path, tmp_path / "large", [KEY], force=False)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000
