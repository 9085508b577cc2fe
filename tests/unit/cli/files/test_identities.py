"""Which identity files are understood; what they hold is never told."""

import subprocess
from pathlib import Path

import pyrage
import pytest
from age_keys import age_key, require_age, ssh_key
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.identities import read_identities

SECRET = str(pyrage.x25519.Identity.generate())


def test_files_of_age_and_of_ssh_are_read(tmp_path: Path) -> None:
    paths = [
        age_key(tmp_path)[0], ssh_key(tmp_path, "ed25519")[0], ssh_key(tmp_path, "rsa")[0]
    ]  # fmt: skip

    assert len(read_identities(paths)) == 3


def test_one_file_may_have_several(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# mine\n{SECRET}\r\n\n  {pyrage.x25519.Identity.generate()}\n")

    assert len(read_identities([path])) == 2


@pytest.mark.parametrize("options", [(), ("-m", "PEM")])
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_one_with_a_passphrase_is_refused_with_words(
    tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    require_age()
    path = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", kind, *options, "-N", "passphrase", "-f", str(path)]
    subprocess.run(command, check=True)

    with pytest.raises(CliError, match="passphrase") as raised:
        read_identities([path])

    assert raised.value.exit_code is ExitCode.USAGE


def test_an_encrypted_file_of_age_is_refused_with_words(tmp_path: Path) -> None:
    path = tmp_path / "key.age"
    path.write_bytes(pyrage.passphrase.encrypt(SECRET.encode(), "passphrase"))

    with pytest.raises(CliError, match="passphrase"):
        read_identities([path])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nothing\n",
        b"\xff\x00",
        SECRET[:-1].encode(),
        SECRET.encode() + b"\nmore",
        b"age1yvkl2sjkq8q2rven7ffnhumyy6xfwg9y7hz3sh6ygvfh6ckqpqpstf8luc",
        b"AGE-PLUGIN-YUBIKEY-1QQQQ",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    ],
    # The secret is made anew by each process.
    ids=["empty", "comment", "binary", "cut", "more", "recipient", "plugin", "no-key"],
)
def test_anything_else_is_refused_and_not_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    with pytest.raises(CliError, match="no identity") as raised:
        read_identities([path])

    assert SECRET[20:40] not in f"{raised.value.message} {raised.value.advice}"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="There is no identity file"):
        read_identities([tmp_path / "none"])
    with pytest.raises(CliError, match="can't be read"):
        read_identities([tmp_path])
