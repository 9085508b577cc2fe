"""Nothing on the volume leads out of its directory, and nothing there makes a reader wait."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from backupexport_runtime.volume import NotTheFileError, open_directory, open_file, open_file_in

SECRET = b"of another project"


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A volume with a project, its file, and a neighbour's."""
    mount = tmp_path / "exports"
    (mount / "project" / "sub").mkdir(parents=True)
    (mount / "project" / "sub" / "file").write_bytes(b"mine")
    (mount / "other" / "sub").mkdir(parents=True)
    (mount / "other" / "sub" / "file").write_bytes(SECRET[:4])
    (mount / "other" / "file").write_bytes(SECRET[:4])
    return mount


def read(mount: Path, path: str = "project/sub/file", size: int = 4) -> bytes:
    descriptor = open_file(mount, path, size)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def opened() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_file_is_opened(mount: Path) -> None:
    before = opened()
    assert read(mount) == b"mine"
    assert opened() == before


def _link_file(mount: Path) -> None:
    file = mount / "project/sub/file"
    file.unlink()
    file.symlink_to(mount / "other/file")


def _link_directory(mount: Path) -> None:
    (mount / "project/sub").rename(mount / "project/was")
    (mount / "project/sub").symlink_to(mount / "other/sub")


def _link_project(mount: Path) -> None:
    (mount / "project").rename(mount / "was")
    (mount / "project").symlink_to("other")


def _hard_link(mount: Path) -> None:
    file = mount / "project/sub/file"
    file.unlink()
    file.hardlink_to(mount / "other/file")


def _pipe(mount: Path) -> None:
    file = mount / "project/sub/file"
    file.unlink()
    os.mkfifo(file)


def _socket(mount: Path) -> None:
    file = mount / "project/sub/file"
    file.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(file.parent, os.O_PATH)
        listening.bind(f"/proc/self/fd/{here}/file")
        os.close(here)


def _directory(mount: Path) -> None:
    file = mount / "project/sub/file"
    file.unlink()
    file.mkdir()


def _another_size(mount: Path) -> None:
    (mount / "project/sub/file").write_bytes(b"longer than it was")


def _file_as_directory(mount: Path) -> None:
    (mount / "project/sub/file").unlink()
    (mount / "project/sub").rmdir()
    (mount / "project/sub").write_bytes(b"mine")


def _missing(mount: Path) -> None:
    (mount / "project/sub/file").unlink()


def _loop(mount: Path) -> None:
    (mount / "project/sub").rename(mount / "project/was")
    (mount / "project/sub").symlink_to("sub")


HOSTILE = [
    _link_file, _link_directory, _link_project, _hard_link, _pipe, _socket, _directory,
    _another_size, _file_as_directory, _missing, _loop,
]  # fmt: skip


@pytest.mark.parametrize("do", HOSTILE, ids=lambda do: do.__name__.strip("_"))
def test_nothing_else_is_opened(mount: Path, do: Callable[[Path], None]) -> None:
    do(mount)
    before = opened()
    with pytest.raises((OSError, NotTheFileError)):
        read(mount)
    assert opened() == before


def test_a_file_removed_while_it_is_opened_is_gone(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_fstat = os.fstat

    def removing(descriptor: int) -> os.stat_result:
        (mount / "project/sub/file").unlink(missing_ok=True)
        return true_fstat(descriptor)

    monkeypatch.setattr(os, "fstat", removing)
    with pytest.raises(FileNotFoundError, match="removed"):
        read(mount)


def test_a_file_of_a_directory_s_descriptor(mount: Path) -> None:
    directory = os.open(mount / "project/sub", os.O_RDONLY)
    try:
        with pytest.raises(NotTheFileError, match="size"):
            open_file_in(directory, "file", 5)
        descriptor = open_file_in(directory, "file", 4)
    finally:
        os.close(directory)
    assert os.read(descriptor, 100) == b"mine"
    os.close(descriptor)


def test_a_pipe_is_no_empty_file(mount: Path) -> None:
    _pipe(mount)
    with pytest.raises(NotTheFileError, match="regular"):
        read(mount, size=0)


def test_a_project_s_directory_swapped_while_the_path_is_walked(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been opened stays what it was, whatever its name means by then."""
    true_open = os.open

    def swapping(path: str | Path, *arguments: int, **more: int) -> int:
        if path == "file":
            _link_project(mount)
        return true_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", swapping)
    assert read(mount) == b"mine"


def test_a_directory_is_made_where_it_is_missing(mount: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_directory(mount, "new/deeper")
    os.close(open_directory(mount, "new/deeper", make=True))
    assert (mount / "new/deeper").is_dir()
    assert (mount / "new").stat().st_mode & 0o777 == 0o750
    (mount / "link").symlink_to("other")
    with pytest.raises(NotADirectoryError):
        open_directory(mount, "link/sub", make=True)
