import shlex
from pathlib import Path

import pytest
from backupexport_runner.delivery.restore_commands import check_command, restore_command
from printed_commands import RESTORED, SHA256

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(("file", "command"), RESTORED.items())
def test_how_a_file_is_restored(file: tuple[str, str, str], command: str) -> None:
    assert shlex.split(restore_command(*file)) == shlex.split(command)


def test_how_a_file_is_checked() -> None:
    assert check_command("a/b c.tar", SHA256) == "echo 'ff  b c.tar' | sha256sum --check"


@pytest.mark.parametrize("name", ["FILE.sql.zst", "FILE.tar.zst"])
def test_the_readme_prints_the_same(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert restore_command(name, name.split(".")[1], "zstd") in readme.splitlines()
