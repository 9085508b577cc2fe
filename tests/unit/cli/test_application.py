import os
import subprocess
import sys
import tomllib
from pathlib import Path

import backupexport_cli
import pytest
from backupexport_cli.__main__ import main
from backupexport_cli.application import global_options_and_rest

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"PYTHONPATH": f"{ROOT / 'cli'}:{ROOT / 'crds'}", "PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (["jobs", "--json"], ["--json", "jobs"]),
        (
            ["jobs", "--limit", "5", "-q", "--url", "u"],
            ["-q", "--url", "u", "jobs", "--limit", "5"],
        ),
        (["jobs", "--url=u"], ["--url=u", "jobs"]),
        (["link", "i", "--kube", "--release", "r"], ["--kube", "--release", "r", "link", "i"]),
        (["export", "--", "--json"], ["export", "--", "--json"]),
        (["jobs", "--url"], ["jobs", "--url"]),
        (["export", "p", "--download"], ["export", "p", "--download=."]),
        (["export", "--download", "--wait", "p"], ["export", "--download=.", "--wait", "p"]),
        (["export", "p", "--download", "-"], ["export", "p", "--download", "-"]),
        (["export", "p", "--download", "d"], ["export", "p", "--download", "d"]),
        ([], []),
    ],
)
def test_global_options_stand_anywhere(given: list[str], parsed: list[str]) -> None:
    first, rest = global_options_and_rest(given)
    assert [*first, *rest] == parsed


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for command in (
        "export", "jobs", "job", "watch", "cancel", "link", "download", "restore-command", "check",
        "login", "logout", "whoami", "token", "targets",
    ):  # fmt: skip
        assert f"\n  {command} " in shown


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"backupexport {backupexport_cli.__version__}\n"
    for file in (ROOT / "pyproject.toml", ROOT / "cli" / "pyproject.toml"):
        version = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]
        assert version == backupexport_cli.__version__


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["jbos"], "'jobs'"),
        (["--frobnicate"], "--frobnicate"),
        (["job"], "ID"),
        (["jobs", "--limit", "0"], "--limit"),
        (["jobs", "--limit", "many"], "--limit"),
        (["jobs", "--status", "odd"], "--status"),
        (["export", "p", "--format", "zip"], "--format"),
        (["export", "p", "--identity", "f"], "--download"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence_and_an_advice(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert word in captured.err
    assert "Traceback" not in captured.err


def test_wrong_usage_is_json_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jbos", "--json"]) == 2
    assert '"exit_code": 2' in capsys.readouterr().err


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from backupexport_cli.__main__ import main; main(['--help']);"
        "slow = {'httpx', 'rich', 'keyring', 'pyrage', 'jwt', 'pydantic', 'ssl', 'asyncio'};"
        "assert not slow & sys.modules.keys(), slow & sys.modules.keys()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
