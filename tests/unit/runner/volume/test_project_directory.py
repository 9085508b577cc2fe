"""Projects whose ids differ by case only never share a directory."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_runner.task.failure import Failure
from runner_bench import Bench

Environment = Callable[..., dict[str, str]]


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes upper and lower case for one when it looks a name up."""
    stat = os.stat

    def look_up(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Any:
        if isinstance(path, str) and dir_fd is not None:
            spelt = (one for one in os.listdir(dir_fd) if one.lower() == path.lower())  # noqa: PTH208
            path = next(spelt, path)
        return stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "stat", look_up)


def run(bench: Bench, values: dict[str, str], project_id: str) -> str:
    return bench.run(values | {protocol.ENV_PROJECT_ID: project_id}).path


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize("storage_path", ["", "a/b"])
def test_the_first_project_has_the_directory_where_case_is_folded(
    bench: Bench, make_environment: Environment, storage_path: str
) -> None:
    bench.says("echo x")
    values = make_environment(EXPORT_STORAGE_PATH=storage_path)
    assert run(bench, values, "Shop").startswith("Shop/")
    for file in bench.files:
        if not file.endswith(".project"):
            (bench.exports / file).unlink()
    with pytest.raises(Failure, match="that of project Shop: give one of the two an id") as caught:
        run(bench, values, "shop")
    assert caught.value.exit_code == ExitCode.STORAGE_UNWRITABLE
    assert bench.files == [".project"]
    assert run(bench, values, "Shop").startswith("Shop/")


def test_where_case_is_told_apart_nothing_is_left_there(
    bench: Bench, make_environment: Environment
) -> None:
    bench.says("echo x")
    run(bench, make_environment(), "shop")
    assert not (bench.exports / ".project").exists()


@pytest.mark.usefixtures("folding")
def test_a_note_that_could_not_be_written_is_taken_away(
    bench: Bench, make_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.says("echo x")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("backupexport_runner.volume.project_directory.write_all", refuse)
        with pytest.raises(Failure) as caught:
            run(bench, make_environment(), "shop")
    assert caught.value.exit_code == ExitCode.STORAGE_FULL
    assert bench.files == []
    run(bench, make_environment(), "shop")
