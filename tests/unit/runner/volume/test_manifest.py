"""The manifest that proves an artifact complete."""

from pathlib import Path

import pytest
from backupexport_runner.volume.directories import made_directory
from backupexport_runner.volume.manifest import read_manifest

NAME = "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.sql.zst"


@pytest.mark.parametrize(
    "manifest", ['{"size_bytes": 4}', "[]", "", '{"size_bytes": "3"}', "\xff", None]
)
def test_no_whole_artifact(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / NAME).write_bytes(b"123")
    if manifest is not None:
        (tmp_path / f"{NAME}.json").write_text(manifest, encoding="latin-1")
    with made_directory(tmp_path, None) as directory:
        assert read_manifest(directory, NAME) is None


def test_a_whole_artifact(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"123")
    (tmp_path / f"{NAME}.json").write_text('{"size_bytes": 3}')
    with made_directory(tmp_path, None) as directory:
        assert read_manifest(directory, NAME) == {"size_bytes": 3}
        (tmp_path / NAME).rename(tmp_path / "x")
        (tmp_path / NAME).symlink_to("x")
        assert read_manifest(directory, NAME) is None


def test_reading_a_directory_of_its_name_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"123")
    (tmp_path / f"{NAME}.json").mkdir()
    with made_directory(tmp_path, None) as directory:
        before = list(Path("/proc/self/fd").iterdir())
        assert read_manifest(directory, NAME) is None
        assert list(Path("/proc/self/fd").iterdir()) == before
