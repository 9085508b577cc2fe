"""How a command ends, whatever happens in it."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from backupexport_cli import __main__ as start
from backupexport_cli.__main__ import main
from backupexport_cli.errors import CliError, ExitCode
from fake_kubectl import FakeKubectl, is_running
from playground.tools import ROOT, wait_for

SECRET = "a-token-that-nobody-may-see"


def _ending(monkeypatch: pytest.MonkeyPatch, error: BaseException | int | None) -> None:
    def app(*_: object, **__: object) -> object:
        if isinstance(error, BaseException):
            raise error
        return error

    monkeypatch.setattr(start, "app", app)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (0, 0),
        (3, 3),
        (CliError(ExitCode.CORRUPT, "It is another file."), 6),
        (KeyboardInterrupt(), 130),
        (EOFError(), 130),
        (typer.Abort(), 130),
        (typer.BadParameter("odd"), 2),
        (RuntimeError(SECRET), 1),
        (RecursionError(), 1),
    ],
)
def test_every_end_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | int | None,
    code: int,
) -> None:
    _ending(monkeypatch, error)
    assert main(["jobs"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_bug_is_told_by_its_place_and_never_by_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _ending(monkeypatch, RuntimeError(SECRET))
    assert main(["jobs", "--verbose"]) == 1
    told = capsys.readouterr().err
    assert "RuntimeError; " in told
    assert "test_main.py:" in told
    assert SECRET not in told
    assert main(["jobs"]) == 1
    assert "--verbose" in capsys.readouterr().err


def test_a_terminal_that_lacks_a_character_gets_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _ending(monkeypatch, CliError(ExitCode.FAILED, "Größe: █ …"))
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as narrow:
        monkeypatch.setattr(sys, "stderr", narrow)
        assert main(["jobs"]) == 1
        narrow.flush()
        assert b"Gr??e" in raw.getvalue()
        monkeypatch.undo()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_the_command_has_started(tmp_path: Path, number: signal.Signals) -> None:
    program = FakeKubectl(tmp_path).says("get", stays=True)
    with subprocess.Popen(
        # nohup has SIGHUP ignored, for the tests and for what they start.
        [
            "env",
            f"--default-signal={number.name[3:]}",
            sys.executable,
            "-m",
            "backupexport_cli",
            "--kube",
            "jobs",
        ],
        env={
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(ROOT / each) for each in ("cli", "crds")),
            "HOME": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_for(lambda: program.calls or None, "kubectl", 30, every=0.05)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert not is_running(program.calls[0]["pid"])


def test_a_wrong_option_leads_to_the_help_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "proj-123", "--format", "zip"]) == 2
    assert capsys.readouterr().err == (
        "Error: Invalid value for '--format': 'zip' is not one of 'sql', 'tar', 'custom'.\n"
        "See what there is: backupexport export --help\n"
    )
