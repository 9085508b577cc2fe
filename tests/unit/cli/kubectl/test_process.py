"""The user's kubectl: it is given what was meant, held to a limit and a deadline, and ended."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.process import Kubectl
from fake_kubectl import FakeKubectl, is_running


def test_context_and_namespace_are_each_one_argument(program: FakeKubectl) -> None:
    program.says("get", out="text")
    asked: list[list[str]] = []
    kubectl = Kubectl("--help", "-n x", environment=program.environment, on_run=asked.append)
    assert kubectl.run("get", "pods") == "text"
    (call,) = program.calls
    expected = ["--context=--help", "--namespace=-n x", "--request-timeout=15s", "get", "pods"]
    assert call["argv"] == expected
    assert asked == [["kubectl", *expected]]


def test_without_them_the_kubeconfig_chooses(program: FakeKubectl) -> None:
    program.says("get")
    Kubectl(environment=program.environment).run("get")
    assert program.calls[0]["argv"] == ["--request-timeout=15s", "get"]


def test_it_gets_what_it_is_to_read(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("create", out="made")
    text = "ä" * 200_000
    assert kubectl.run("create", "--filename=-", stdin=text) == "made"
    assert program.calls[0]["stdin"] == text


def test_one_that_reads_nothing_holds_nothing_up(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("get", out="text")
    assert kubectl.run("get", stdin="x" * 1_000_000) == "text"


def test_the_token_is_not_in_its_environment(program: FakeKubectl) -> None:
    program.says("get")
    environment = program.environment | {"BACKUPEXPORT_TOKEN": "secret", "KUBECONFIG": "/k"}
    Kubectl(environment=environment).run("get")
    env = program.calls[0]["env"]
    assert "secret" not in str(env)
    assert env["KUBECONFIG"] == "/k"


def test_there_is_no_kubectl(tmp_path: Path) -> None:
    with pytest.raises(CliError) as raised:
        Kubectl(environment={"PATH": str(tmp_path)}).run("get")
    assert raised.value.exit_code == ExitCode.NOT_ALLOWED
    assert "no kubectl" in raised.value.message


def test_one_that_is_no_program(program: FakeKubectl, kubectl: Kubectl) -> None:
    (program.folder / "kubectl").write_text("#!/no/such/interpreter\n")
    with pytest.raises(CliError) as raised:
        kubectl.run("get")
    assert raised.value.exit_code == ExitCode.NOT_ALLOWED


def test_a_failure_is_told_by_its_words(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("get", err="error: it rains\n", code=1, out="half")
    with pytest.raises(CliError, match="it rains"):
        kubectl.run("get")


def test_one_that_says_too_much_is_ended(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("get", out="x" * 300_000, stays=True)
    with pytest.raises(CliError, match="more than 0 MiB"):
        kubectl.run("get", most=1000)
    assert not is_running(program.calls[0]["pid"])


def test_words_without_end_are_no_harm(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("get", err="x" * 3_000_000, code=1)
    with pytest.raises(CliError) as raised:
        kubectl.run("get")
    assert len(raised.value.message) < 1000


def test_one_that_says_nothing_is_ended_at_the_deadline(
    program: FakeKubectl, kubectl: Kubectl
) -> None:
    program.says("get", stays=True)
    with pytest.raises(CliError) as raised:
        kubectl.run("get", seconds=0.5)
    assert raised.value.exit_code == ExitCode.UNREACHABLE
    assert not is_running(program.calls[0]["pid"])


@pytest.mark.parametrize("text", ["", "<html>", "[" * 200_000])
def test_what_is_no_json_is_said(program: FakeKubectl, kubectl: Kubectl, text: str) -> None:
    program.says("get", out=text)
    with pytest.raises(CliError, match="something else than JSON"):
        kubectl.json("get")


def test_what_goes_on_is_read_as_it_comes_and_ended_with_the_context(
    program: FakeKubectl, kubectl: Kubectl
) -> None:
    program.says("get", out="first\n", stays=True)
    with kubectl.following("get") as followed:
        assert followed.read(20) == b"first\n"
        assert followed.read(0.05) is None
        pid = program.calls[0]["pid"]
        assert is_running(pid)
    assert not is_running(pid)


def test_the_end_of_what_goes_on_is_told(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("get", err="error: it rains\n", code=1)
    with kubectl.following("get") as followed:
        assert followed.read(20) == b""
        failure = followed.failure()
    assert failure is not None
    assert "it rains" in failure.message


def test_what_nobody_reads_is_no_harm(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("get", out="x" * 5_000_000, stays=True)
    begin = time.monotonic()
    with kubectl.following("get") as followed:
        assert followed.read(20)
    assert time.monotonic() - begin < 15


def test_ctrl_c_ends_it(program: FakeKubectl) -> None:
    """As on a terminal, whose signal reaches this program alone: kubectl has its own group."""
    program.says("get", stays=True)
    code = (
        "import sys; from backupexport_cli.kubectl.process import Kubectl\n"
        "try: Kubectl(environment={'PATH': sys.argv[1]}).run('get')\n"
        "except KeyboardInterrupt: sys.exit(130)"
    )
    pid = os.spawnve(
        os.P_NOWAIT,
        sys.executable,
        [sys.executable, "-c", code, str(program.folder)],
        {"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    deadline = time.monotonic() + 20
    while not program.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert not is_running(program.calls[0]["pid"])
