"""A cleanup as the Job runs it: environment, exit code, termination message, SIGTERM."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import ENV_TASK, Outcome, read_outcome
from runner_bench import Bench
from runner_process import GRACE_SECONDS, start, wait_for

Environment = Callable[..., dict[str, str]]


@pytest.fixture
def make_cleanup(make_environment: Environment) -> Environment:
    def make(task: str) -> dict[str, str]:
        values = make_environment(**{ENV_TASK: task})
        return {name: value for name, value in values.items() if "SECRET" not in name.upper()}

    return make


def run(bench: Bench, values: dict[str, str]) -> tuple[int, Outcome, list[str]]:
    bench.configuration.termination_message.unlink(missing_ok=True)
    process = start(bench, values)
    output, errors = process.communicate(timeout=60)
    assert errors == ""
    events = [json.loads(line)["event"] for line in output.splitlines()]
    message = bench.configuration.termination_message.read_text()
    assert set(json.loads(message)) == {
        "version", "artifact", "message", "server_verified", "reason",
    }  # fmt: skip
    return process.returncode, read_outcome(message), events


def test_tidy_and_remove(
    bench: Bench, make_environment: Environment, make_cleanup: Environment
) -> None:
    bench.says("echo x")
    artifact = bench.run(make_environment())
    name = make_environment()["EXPORT_FILE_NAME"]
    (bench.exports / f".{name}.partial").touch()
    assert run(bench, make_cleanup("tidy")) == (
        0, Outcome(artifact), ["stale_partial_removed", "completed"],
    )  # fmt: skip
    assert bench.files == [name, f"{name}.json"]
    assert run(bench, make_cleanup("remove")) == (
        0, Outcome(), ["file_removed", "file_removed", "nothing_left"],
    )  # fmt: skip
    assert bench.files == []
    for task in ("tidy", "remove"):
        assert run(bench, make_cleanup(task)) == (0, Outcome(), ["nothing_left"])


def test_export_is_what_an_absent_task_means(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo x")
    exit_code, outcome, _ = run(bench, make_environment(**{ENV_TASK: "export"}))
    assert (exit_code, outcome.artifact is None) == (0, False)


@pytest.mark.parametrize("task", ["", "Tidy", "remove\n", "CANARY"])
def test_another_task(bench: Bench, make_environment: Environment, task: str) -> None:
    bench.says("echo x")
    bench.run(make_environment())
    before = bench.files
    exit_code, outcome, _ = run(bench, make_environment(**{ENV_TASK: task}))
    assert exit_code == ExitCode.BAD_REQUEST
    assert "EXPORT_TASK" in str(outcome.message)
    assert outcome.reason == "Internal"
    assert "CANARY" not in str(outcome.message)
    assert bench.files == before


@pytest.mark.parametrize("task", ["tidy", "remove"])
def test_a_bad_value(bench: Bench, make_cleanup: Environment, task: str) -> None:
    exit_code, outcome, _ = run(bench, make_cleanup(task) | {"EXPORT_STORAGE_PATH": "../x"})
    assert exit_code == ExitCode.BAD_REQUEST
    assert "EXPORT_STORAGE_PATH" in str(outcome.message)


@pytest.mark.parametrize("task", ["tidy", "remove"])
def test_a_volume_that_refuses(bench: Bench, make_cleanup: Environment, task: str) -> None:
    name = make_cleanup(task)["EXPORT_FILE_NAME"]
    (bench.exports / f".{name}.partial").touch()
    exit_code, outcome, _ = run(bench, make_cleanup(task) | {"TEST_REFUSED": "unlink"})
    assert exit_code == ExitCode.STORAGE_UNWRITABLE
    assert "read-only" in str(outcome.message)


@pytest.mark.parametrize("task", ["tidy", "remove"])
def test_sigterm_while_the_volume_hangs(bench: Bench, make_cleanup: Environment, task: str) -> None:
    values = make_cleanup(task) | {"TEST_HANGS_AT": "fsync"}
    process = start(bench, values)
    wait_for((bench.root / "hanging").exists)
    process.terminate()
    process.communicate(timeout=GRACE_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED
    message = bench.configuration.termination_message.read_text()
    assert "cleanup" in str(read_outcome(message).message)


def test_main_itself(make_cleanup: Environment) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "backupexport_runner"],
        env={"PYTHONPATH": os.pathsep.join(sys.path), **make_cleanup("sideways")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == ExitCode.BAD_REQUEST
    assert "EXPORT_TASK" in process.stdout
