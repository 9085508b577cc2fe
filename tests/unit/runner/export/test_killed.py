"""SIGKILL at each step of a task, and what a cleanup or a retry makes of the rest."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backupexport_contract.runner_protocol import ENV_TASK, TASK_REMOVE, TASK_TIDY, Artifact
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import read_request
from backupexport_runner.volume.cleanup import remove, tidy
from runner_bench import Bench
from runner_process import start

Environment = Callable[..., dict[str, str]]


def kill_at_each_step(bench: Bench, values: dict[str, str], begin: Path) -> Iterator[int]:
    """Each step's number, after the task was killed there; ends with the task that wasn't."""
    for step in range(1, 100):
        shutil.rmtree(bench.exports)
        shutil.copytree(begin, bench.exports)
        process = start(bench, values | {"TEST_KILL_AT": str(step)})
        _, errors = process.communicate(timeout=60)
        assert errors == ""
        if process.returncode == 0:
            return
        assert process.returncode == -signal.SIGKILL
        assert not bench.configuration.termination_message.exists()
        yield step
    raise AssertionError("the task never ended")


class After:
    """What the volume holds after a kill."""

    def __init__(self, bench: Bench, values: dict[str, str]) -> None:
        self.bench = bench
        self.values = values
        self.request = read_request(values)
        self.name = self.request.file_name

    def assert_no_lone_manifest(self) -> None:
        assert self.name in self.bench.files or f"{self.name}.json" not in self.bench.files

    def assert_tidy_decides(self) -> Artifact | None:
        artifact = tidy(self.bench.exports, self.request, Log(Scrubber(), self.bench.output))
        whole = [self.name, f"{self.name}.json"]
        assert self.bench.files == (whole if artifact else [])
        return artifact


@pytest.fixture
def begin(tmp_path: Path) -> Path:
    directory = tmp_path / "begin"
    directory.mkdir()
    return directory


def leave_a_crash(values: dict[str, str], begin: Path) -> None:
    name = values["EXPORT_FILE_NAME"]
    (begin / name).write_text("of an attempt killed between its renames")
    (begin / f".{name}.json.partial").write_text("its manifest")


def test_an_export(
    bench: Bench, make_environment: Environment, begin: Path, tmp_path: Path
) -> None:
    bench.says("echo x")
    values = make_environment()
    after = After(bench, values)
    kept = 0
    leave_a_crash(values, begin)
    for _ in kill_at_each_step(bench, values, begin):
        after.assert_no_lone_manifest()
        shutil.copytree(bench.exports, tmp_path / "killed")
        kept += after.assert_tidy_decides() is not None
        shutil.rmtree(bench.exports)
        (tmp_path / "killed").rename(bench.exports)
        bench.run(values)
        assert bench.files == [after.name, f"{after.name}.json"]
    assert bench.files == [after.name, f"{after.name}.json"]
    # Killed before the manifest lost its hidden name, and before the last fsync.
    assert kept == 2


def test_a_tidy(bench: Bench, make_environment: Environment, begin: Path) -> None:
    values = make_environment(**{ENV_TASK: TASK_TIDY})
    leave_a_crash(values, begin)
    for _ in kill_at_each_step(bench, values, begin):
        assert After(bench, values).assert_tidy_decides() is None
    assert bench.files == []


def test_a_tidy_of_a_whole_artifact(
    bench: Bench, make_environment: Environment, begin: Path
) -> None:
    bench.says("echo x")
    values = make_environment(**{ENV_TASK: TASK_TIDY})
    artifact = bench.run(values)
    shutil.copytree(bench.exports, begin, dirs_exist_ok=True)
    for _ in kill_at_each_step(bench, values, begin):
        assert After(bench, values).assert_tidy_decides() == artifact


def test_a_remove(bench: Bench, make_environment: Environment, begin: Path, tmp_path: Path) -> None:
    bench.says("echo x")
    values = make_environment(**{ENV_TASK: TASK_REMOVE})
    bench.run(values)
    shutil.copytree(bench.exports, begin, dirs_exist_ok=True)
    (begin / f".{values['EXPORT_FILE_NAME']}.partial").write_text("half")
    after = After(bench, values)
    for _ in kill_at_each_step(bench, values, begin):
        after.assert_no_lone_manifest()
        shutil.copytree(bench.exports, tmp_path / "killed")
        after.assert_tidy_decides()
        shutil.rmtree(bench.exports)
        (tmp_path / "killed").rename(bench.exports)
        log = Log(Scrubber(), bench.output)
        remove(bench.exports, after.request, log)
        assert bench.files == []
    assert bench.files == []
