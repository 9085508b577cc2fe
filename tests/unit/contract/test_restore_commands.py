import gzip
import io
import os
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pyrage
import pytest
import zstandard
from age_keys import age_key
from backupexport_contract.restore_commands import (
    CAUTION,
    DumpFile,
    check_command,
    restore_command,
)
from backupexport_runtime.recipients import key_of
from printed_commands import CAUTION as PRINTED_CAUTION
from printed_commands import RESTORED, SHA256

ROOT = Path(__file__).parents[3]
DUMP = (
    b"--\n-- PostgreSQL database dump\n--\n\n\\restrict aBc\n\n"
    + b"".join(b"INSERT INTO t VALUES (%d, '%x');\n" % (n, n**9) for n in range(20_000))
    + b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict aBc\n\n"
)
PACKED = {
    "none": DUMP,
    "gzip": gzip.compress(DUMP),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(DUMP),
}
TAR = io.BytesIO()
# As pg_dump orders them.
MEMBERS = ("toc.dat", "3001.dat", "blob_1.dat", "blobs.toc", "restore.sql")
with tarfile.open(fileobj=TAR, mode="w") as archive:
    for each in MEMBERS:
        member = tarfile.TarInfo(each)
        member.size = len(DUMP)
        archive.addfile(member, io.BytesIO(DUMP))
ENDINGS = {"none": "", "gzip": ".gz", "zstd": ".zst"}


@pytest.mark.parametrize(("file", "command"), RESTORED.items())
def test_how_a_file_is_restored(file: DumpFile, command: str) -> None:
    assert shlex.split(restore_command(file)) == shlex.split(command)


def test_how_a_file_is_checked() -> None:
    assert check_command("a/b c.tar", SHA256) == "echo 'ff  b c.tar' | sha256sum --check"


@pytest.mark.parametrize("name", ["FILE.sql.zst", "FILE.tar.zst"])
def test_the_readme_prints_the_same(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert restore_command(DumpFile(name, name.split(".")[1], "zstd")) in readme.splitlines()


def test_the_word_of_caution_is_the_pages_too() -> None:
    assert CAUTION == PRINTED_CAUTION


class Restore:
    """The printed command in a directory of its own, with programs that only tell of their run."""

    def __init__(
        self, directory: Path, dump_format: str, compression: str, encrypted: str = ""
    ) -> None:
        self._directory = directory
        self._file = directory / f"a b.{dump_format}{ENDINGS[compression]}{encrypted}"
        self._command = restore_command(DumpFile(str(self._file), dump_format, compression))
        for name in ("psql", "pg_restore"):
            (directory / name).write_text("#!/bin/sh\ncat > /dev/null\ntouch restored\n")
            (directory / name).chmod(0o755)

    def run(self, content: bytes) -> int:
        self._file.write_bytes(content)
        return subprocess.run(
            ["bash", "-c", self._command],
            cwd=self._directory,
            env={"PATH": f"{self._directory}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        ).returncode

    @property
    def is_done(self) -> bool:
        return (self._directory / "restored").exists()


@pytest.mark.parametrize("dump_format", ["sql", "tar"])
@pytest.mark.parametrize("compression", list(PACKED))
def test_a_cut_file_is_not_restored(tmp_path: Path, dump_format: str, compression: str) -> None:
    if compression == "zstd" and shutil.which("zstd") is None:
        pytest.skip("there is no zstd here")
    restore, content = Restore(tmp_path, dump_format, compression), PACKED[compression]
    if (dump_format, compression) == ("tar", "none"):
        content = TAR.getvalue()
    # Between two statements, too, which psql would take for the end.
    between = content.rindex(b"\nINSERT") + 1 if compression == "none" else len(content) - 5
    lengths = {len(content) // 2, len(content) // 10, between, 0}
    if (dump_format, compression) == ("tar", "none"):
        # After each whole member but the last, where tar sees nothing wrong.
        size = 512 + -(-len(DUMP) // 512) * 512
        lengths |= {size * count for count in range(len(MEMBERS))}
    for length in lengths:
        assert restore.run(content[:length]) != 0, length
        assert not restore.is_done
    assert restore.run(content) == 0
    assert restore.is_done


@pytest.mark.parametrize(("dump_format", "compression"), [("sql", "none"), ("tar", "gzip")])
def test_a_cut_encrypted_file_is_not_restored(
    tmp_path: Path, dump_format: str, compression: str
) -> None:
    identity, recipient = age_key(tmp_path)
    identity.rename(tmp_path / "KEY")
    restore = Restore(tmp_path, dump_format, compression, ".age")
    content = pyrage.encrypt(PACKED[compression], [key_of(recipient)])
    # After the header and a whole chunk, too (https://age-encryption.org/v1).
    whole_chunk = content.index(b"\n---") + 1 + 4 + 43 + 1 + 16 + 64 * 1024 + 16
    for length in {0, len(content) // 2, len(content) - 1, whole_chunk}:
        assert restore.run(content[:length]) != 0, length
        assert not restore.is_done
    assert restore.run(content) == 0
    assert restore.is_done


def test_rows_that_look_like_the_end_are_not_the_end(tmp_path: Path) -> None:
    restore = Restore(tmp_path, "sql", "none")
    rows = b"-- PostgreSQL database dump complete\n--\n\n\\unrestrict b\n\\unrestrict \n\n"
    begin, end = DUMP[:60], DUMP[-60:]
    assert b"\\restrict aBc\n" in begin
    assert restore.run(begin + rows) != 0
    assert restore.run(b"no dump at all\n" + rows) != 0
    assert not restore.is_done
    assert restore.run(begin + rows + end) == 0
