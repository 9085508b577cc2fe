"""The process: exit code, termination message, SIGTERM, limits."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import read_outcome
from process_tree import is_alive
from runner_bench import Bench
from runner_process import GRACE_SECONDS, start, wait_for

Environment = Callable[..., dict[str, str]]


def test_success(bench: Bench, make_environment: Environment) -> None:
    bench.says("echo x")
    process = start(bench, make_environment())
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    artifact = read_outcome((bench.root / "termination").read_text()).artifact
    assert artifact is not None
    assert artifact.uncompressed_bytes == 2
    assert json.loads(output.splitlines()[-1])["event"] == "completed"


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_in_the_middle(
    bench: Bench, make_environment: Environment, signal_number: signal.Signals
) -> None:
    bench.says(f"echo $$ > {bench.root}/pid; echo x; exec sleep 600")
    process = start(bench, make_environment())
    told = bench.root / "pid"
    wait_for(lambda: bench.files and told.exists() and told.read_text())
    process.send_signal(signal_number)
    process.send_signal(signal_number)
    process.communicate(timeout=GRACE_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED
    assert bench.files == []
    assert "stopped" in str(read_outcome((bench.root / "termination").read_text()).message)
    wait_for(lambda: not is_alive(int(told.read_text())))


def test_sigterm_while_nothing_answers(bench: Bench, make_environment: Environment) -> None:
    look = f"open({str(bench.root / 'looking')!r}, 'w'); import time; time.sleep(600)"
    process = start(bench, make_environment(TEST_LOOK=look))
    wait_for((bench.root / "looking").exists)
    process.terminate()
    process.communicate(timeout=GRACE_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED


def test_a_file_that_grows_too_large(bench: Bench, make_environment: Environment) -> None:
    bench.says("yes")
    process = start(
        bench,
        make_environment("sql", "none"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.STORAGE_FULL
    assert bench.files == []


def test_a_bug_is_reported_without_secrets(
    bench: Bench, make_environment: Environment, password: str
) -> None:
    look = "raise ZeroDivisionError(parameters['password'])"
    process = start(bench, make_environment(TEST_LOOK=look))
    output, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERNAL
    message = read_outcome((bench.root / "termination").read_text()).message
    assert "start the export again" in str(message)
    assert "ZeroDivisionError: [hidden]" in output
    for text in (output, errors, (bench.root / "termination").read_text()):
        assert password not in text
        assert json.dumps(password)[1:-1] not in text


def test_main_itself(make_environment: Environment) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "backupexport_runner"],
        env={"PYTHONPATH": ":".join(sys.path), **make_environment(EXPORT_FORMAT="x")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == ExitCode.BAD_REQUEST
    assert "EXPORT_FORMAT" in process.stdout
