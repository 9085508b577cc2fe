"""A port of this machine leads to the api: through restarts of what carries it, and no longer."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.port_forward import find_api_service, port_forward
from backupexport_cli.kubectl.process import Kubectl
from fake_kubectl import FakeKubectl, is_running

FORWARDING = "Forwarding from 127.0.0.1:40123 -> 8080\nHandling connection for 40123\n"


def services(*found: str) -> dict[str, Any]:
    labels = {name: {"app.kubernetes.io/instance": name.removesuffix("-api")} for name in found}
    items = [{"metadata": {"name": name, "labels": labels[name]}} for name in found]
    return {"kind": "List", "items": items}


def wait_until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_it_leads_to_the_service_and_ends_with_the_context(
    program: FakeKubectl, kubectl: Kubectl
) -> None:
    program.says("port-forward", out=FORWARDING, stays=True)
    with port_forward(kubectl, "backupexport-api") as url:
        assert url.startswith("http://127.0.0.1:")
        (call,) = program.calls
        assert is_running(call["pid"])
    assert call["argv"] == [
        "--namespace=team", "port-forward", "service/backupexport-api", "--address=127.0.0.1",
        "--pod-running-timeout=20s", ":http",
    ]  # fmt: skip
    wait_until(lambda: not is_running(call["pid"]))


def test_it_ends_when_the_command_fails(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("port-forward", out=FORWARDING, stays=True)
    with pytest.raises(KeyboardInterrupt), port_forward(kubectl, "a"):
        raise KeyboardInterrupt
    wait_until(lambda: not is_running(program.calls[0]["pid"]))


@pytest.mark.parametrize("code", [0, 1])
def test_one_that_dies_is_started_again(program: FakeKubectl, kubectl: Kubectl, code: int) -> None:
    lost = "error: lost connection to pod\n"
    program.says("port-forward", out=FORWARDING, err=lost, code=code)
    program.says("port-forward", err="error: no pod yet\n", code=1)
    program.says("port-forward", out=FORWARDING, stays=True)
    with port_forward(kubectl, "a", 80) as url:
        wait_until(lambda: len(program.calls) == 3)
        assert not url.endswith(":40123")
    # Its port is another one each time: in between, that of before may be anybody's.
    assert [call["argv"][-1] for call in program.calls] == [":80", ":80", ":80"]
    wait_until(lambda: not is_running(program.calls[-1]["pid"]))


def _forwarding(server: socket.socket) -> str:
    return f"Forwarding from 127.0.0.1:{server.getsockname()[1]} -> 8080\n"


def _answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while asked := connection.recv(1024):
            connection.sendall(asked.upper())


def test_what_is_sent_comes_to_where_kubectl_forwards(
    program: FakeKubectl, kubectl: Kubectl
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program.says("port-forward", out=_forwarding(server), stays=True)
        with port_forward(kubectl, "a") as url, ThreadPoolExecutor(1) as pool:
            answering = pool.submit(_answer, server)
            port = int(url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                for word in (b"a", b"b" * 300_000):
                    client.sendall(word)
                    got = b""
                    while len(got) < len(word):
                        got += client.recv(2**16)
                    assert got == word.upper()
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
            answering.result(20)


def test_while_no_kubectl_forwards_nobody_else_gets_what_is_sent(
    program: FakeKubectl, kubectl: Kubectl
) -> None:
    # Another user's program, on the port that the kubectl before had.
    with socket.create_server(("127.0.0.1", 0)) as other:
        program.says("port-forward", out=_forwarding(other))
        program.says("port-forward", err="error: no pod\n", code=1, stays=True)
        with port_forward(kubectl, "a") as url:
            wait_until(lambda: len(program.calls) == 2)
            port = int(url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
                pass
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                assert client.recv(1) == b""
            other.settimeout(0)
            with pytest.raises(BlockingIOError):
                other.accept()


def test_one_that_never_forwards_is_told_in_its_words(
    program: FakeKubectl, kubectl: Kubectl
) -> None:
    pending = "error: unable to forward port because pod is not running. Current status=Pending\n"
    program.says("port-forward", err=pending, code=1)
    with (
        pytest.raises(CliError, match="Current status=Pending") as raised,
        port_forward(kubectl, "a"),
    ):
        pass
    assert raised.value.exit_code == ExitCode.UNREACHABLE
    assert len(program.calls) == 1


def test_one_that_says_nothing_is_given_up(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("port-forward", stays=True)
    with (
        pytest.raises(CliError, match=r"within 0\.5 seconds"),
        port_forward(kubectl, "a", seconds=0.5),
    ):
        pass
    wait_until(lambda: not is_running(program.calls[0]["pid"]))


def test_a_killed_command_leaves_nothing_behind(program: FakeKubectl) -> None:
    program.says("port-forward", out=FORWARDING, stays=True)
    code = (
        "import sys, time; from backupexport_cli.kubectl.port_forward import port_forward\n"
        "from backupexport_cli.kubectl.process import Kubectl\n"
        "with port_forward(Kubectl(environment={'PATH': sys.argv[1]}), 'a'):\n"
        "    print('there', flush=True)\n"
        "    time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(program.folder)],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "there\n"
        (call,) = program.calls
        assert is_running(call["pid"])
        command.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running(call["pid"]))


def test_the_service_is_found_by_its_labels(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("services", out=services("backupexport-api"))
    assert find_api_service(kubectl) == "backupexport-api"
    selector = "app.kubernetes.io/part-of=backupexport,app.kubernetes.io/component=api"
    assert f"--selector={selector}" in program.calls[0]["argv"]


@pytest.mark.parametrize(
    ("found", "release", "exit_code", "part"),
    [
        ((), None, ExitCode.NOT_FOUND, "no Service of backupexport in the namespace team"),
        ((), "r", ExitCode.NOT_FOUND, "backupexport of the release r in the namespace team"),
        (("b-api", "a-api"), None, ExitCode.USAGE, "2 installations in the namespace team"),
    ],
)
def test_none_or_several_are_told(
    program: FakeKubectl,
    kubectl: Kubectl,
    found: tuple[str, ...],
    release: str | None,
    exit_code: int,
    part: str,
) -> None:
    program.says("services", out=services(*found))
    with pytest.raises(CliError) as raised:
        find_api_service(kubectl, release)
    assert raised.value.exit_code == exit_code
    assert part in raised.value.message
    if found:
        assert raised.value.advice == "Name one of these with --release: a, b."


def test_of_several_the_release_that_is_named(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("services", out=services("two-api"))
    assert find_api_service(kubectl, "two", preferred="one-api") == "two-api"
    assert program.calls[0]["argv"][-2].endswith(",app.kubernetes.io/instance=two")


def test_of_several_the_one_that_is_meant(program: FakeKubectl, kubectl: Kubectl) -> None:
    program.says("services", out=services("one-api", "two-api"))
    assert find_api_service(kubectl, preferred="two-api") == "two-api"
    with pytest.raises(CliError):
        find_api_service(kubectl, preferred="three-api")
