"""A delivery as the Job runs it: killed at every step, stopped, and what the process tells."""

import io
import json
import signal
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from email import message_from_bytes, policy

import pytest
from backupexport_contract.reasons import FATAL_DELIVERY_EXIT_CODES, ExitCode
from backupexport_contract.runner_protocol import (
    ENV_DELIVERY_SETTINGS,
    ENV_EXPORT_END,
    ENV_TASK,
    read_outcome,
)
from backupexport_runner import __main__ as runner
from backupexport_runner.export.exporter import Exporter, ServerQuestions
from backupexport_runner.postgres import preflight
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from certificate_authority import Authority
from mails import ADDRESS, SENDER, delivery_environment
from runner_bench import JOB_ID, Bench
from runner_process import GRACE_SECONDS, start, wait_for
from smtp_server import CUT, HANG, PASSWORD, USERNAME, SmtpServer

# Python leaves the socket of a handshake open whose client has just been killed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STEPS = (
    "greeting", "EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "content", "QUIT",
)  # fmt: skip
LOGIN = {"username": USERNAME, "password": PASSWORD}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(authority: Authority) -> Iterator[SmtpServer]:
    with SmtpServer(
        tls="starttls", certificate=authority.issue("127.0.0.1"), logins={USERNAME: PASSWORD}
    ) as server:
        yield server
    assert server.violations == []


@pytest.fixture
def values(server: SmtpServer, authority: Authority) -> dict[str, str]:
    settings = {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": "starttls",
        "from": SENDER,
        "caCertificates": authority.pem,
    }
    return delivery_environment(settings, LOGIN)


def finish(bench: Bench, process: "subprocess.Popen[str]") -> tuple[int, str | None]:
    """The exit code and the sentence, neither of which tells anything private."""
    output, errors = process.communicate(timeout=GRACE_SECONDS)
    path = bench.configuration.termination_message
    termination = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    assert errors == ""
    for line in output.splitlines():
        assert {"time", "event"} <= json.loads(line).keys()
    told = (output + termination).lower()
    spellings = (PASSWORD, json.dumps(PASSWORD)[1:-1], b64encode(PASSWORD.encode()).decode())
    for private in (*spellings, ADDRESS, ADDRESS.partition("@")[0], "canary", USERNAME):
        assert private.lower() not in told
    return process.returncode, read_outcome(termination).message


def test_a_whole_delivery(bench: Bench, server: SmtpServer, values: dict[str, str]) -> None:
    exit_code, message = finish(bench, start(bench, values))
    assert (exit_code, message) == (0, f"The mail server 127.0.0.1:{server.port} took the mail.")
    assert tuple(server.steps) == STEPS


def test_a_delivery_that_a_newer_operator_asks_for(
    bench: Bench, server: SmtpServer, values: dict[str, str]
) -> None:
    end, settings = (json.loads(values[name]) for name in (ENV_EXPORT_END, ENV_DELIVERY_SETTINGS))
    artifact = end["artifact"] | {"shelf": {"kind": "s3"}, "warnings": []}
    newer = {
        ENV_EXPORT_END: end | {"version": 2, "artifact": artifact, "verification": {"level": "a"}},
        ENV_DELIVERY_SETTINGS: settings
        | {"secretRef": settings["secretRef"] | {"namespace": "n"}, "language": "de"},
        "EXPORT_NEWS": ["x"],
    }
    exit_code, message = finish(
        bench, start(bench, values | {name: json.dumps(value) for name, value in newer.items()})
    )
    assert (exit_code, message) == (0, f"The mail server 127.0.0.1:{server.port} took the mail.")
    asked_by_ours, _ = finish(bench, start(bench, values))
    assert asked_by_ours == 0
    assert len(set(server.taken)) == 1


def test_killed_at_each_step(bench: Bench, server: SmtpServer, values: dict[str, str]) -> None:
    kill_at = 0
    victim: list[subprocess.Popen[str]] = []

    def kill(_: str) -> None:
        if len(server.steps) - begin == kill_at:
            # It may get there before we have learnt of it.
            wait_for(lambda: victim)
            victim.pop().kill()

    server.on_step = kill
    for kill_at in range(1, len(STEPS) + 1):
        # Begun before the process, which may be quick.
        begin, taken = len(server.steps), len(server.taken)
        process = start(bench, values)
        victim.append(process)
        process.wait(timeout=60)
        assert finish(bench, process) == (-signal.SIGKILL, None)
        assert tuple(server.steps[begin:])[:kill_at] == STEPS[:kill_at]
        # From the dot on it is the server's.
        assert len(server.taken) - taken == (STEPS[kill_at - 1] in {"content", "QUIT"})
        exit_code, _ = finish(bench, start(bench, values))
        assert exit_code == 0
        assert len(server.taken) - taken == 1 + (STEPS[kill_at - 1] in {"content", "QUIT"})
    assert len(set(server.taken)) == 1
    parsed = message_from_bytes(server.taken[0].content, policy=policy.default)
    assert parsed["Message-ID"] == f"<{JOB_ID}@backupexport.dev>"


@pytest.mark.parametrize("step", [step for step in dict.fromkeys(STEPS) if step != "QUIT"])
def test_sigterm_while_the_server_hangs(
    bench: Bench, server: SmtpServer, values: dict[str, str], step: str
) -> None:
    server.replies[step] = HANG
    process = start(bench, values)
    wait_for(lambda: step in server.steps)
    process.terminate()
    exit_code, message = finish(bench, process)
    assert exit_code == ExitCode.INTERRUPTED
    assert message == "The delivery was stopped before it was done; it is tried again."


def test_sigterm_after_the_mail_is_no_failure(
    bench: Bench, server: SmtpServer, values: dict[str, str]
) -> None:
    stopped = threading.Event()

    begun: list[subprocess.Popen[str]] = []

    def stop(step: str) -> None:
        if step == "QUIT":
            # It may get there before we have learnt of it.
            wait_for(lambda: begun)
            begun[0].terminate()
            stopped.set()

    server.on_step = stop
    begun.append(start(bench, values))
    exit_code, message = finish(bench, begun[0])
    assert stopped.is_set()
    assert (exit_code, "took the mail" in str(message)) == (0, True)


@pytest.mark.parametrize(
    ("step", "reply", "expected"),
    [
        ("AUTH", f"535 no {USERNAME} {PASSWORD.encode('ascii', 'replace').decode()}",
         ExitCode.AUTHENTICATION_FAILED),
        ("RCPT", f"550 <{ADDRESS.upper()}> unknown", ExitCode.DELIVERY_REFUSED),
        ("RCPT", f"450 {ADDRESS} later", ExitCode.DELIVERY_DEFERRED),
        ("content", CUT, ExitCode.DELIVERY_DEFERRED),
        ("DATA", CUT, ExitCode.CONNECTION_FAILED),
    ],
)  # fmt: skip
def test_a_failure_is_told(
    bench: Bench,
    server: SmtpServer,
    values: dict[str, str],
    step: str,
    reply: str,
    expected: ExitCode,
) -> None:
    server.replies[step] = reply
    exit_code, message = finish(bench, start(bench, values))
    assert exit_code == expected
    assert message


def test_a_username_that_is_a_word_leaves_the_sentence_readable(
    bench: Bench, server: SmtpServer, values: dict[str, str]
) -> None:
    secret = {"secret:username": "mail", "secret:password": "canary-wrong"}
    exit_code, message = finish(bench, start(bench, values | secret))
    assert exit_code == ExitCode.AUTHENTICATION_FAILED
    assert str(message).startswith("The mail server ")
    assert "[hidden]" not in str(message)


def test_a_bug_in_a_delivery_asks_for_no_other_export(
    bench: Bench, values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "deliver", lambda *_: 1 // 0)
    output = io.StringIO()
    questions = ServerQuestions(preflight.look_at_server, preflight.find_obstacle)
    exporter = Exporter(bench.configuration, questions, Log(Scrubber(), output), Interruption())
    failure = runner._outcome(exporter, values)
    assert isinstance(failure, Failure)
    assert failure.exit_code == ExitCode.INTERNAL
    assert failure.exit_code not in FATAL_DELIVERY_EXIT_CODES
    assert "start the export again" not in failure.message
    assert "it is tried again" in failure.message
    assert "ZeroDivisionError" in output.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({ENV_TASK: "deliver-pigeon"}, "EXPORT_TASK"),
        ({ENV_TASK: "deliver-"}, "EXPORT_TASK"),
        ({"EXPORT_END": ""}, "EXPORT_END"),
        ({"EXPORT_END": '{"phase":'}, "EXPORT_END"),
        ({"EXPORT_END": '{"unheard": 1}'}, "EXPORT_END"),
        ({"EXPORT_DELIVERY_SETTINGS": ""}, "EXPORT_DELIVERY_SETTINGS"),
        ({"EXPORT_DELIVERY_SETTINGS": "[1]"}, "EXPORT_DELIVERY_SETTINGS"),
        ({"EXPORT_DELIVERY_SETTINGS": "{"}, "EXPORT_DELIVERY_SETTINGS"),
        ({"EXPORT_JOB_ID": "../x"}, "EXPORT_JOB_ID"),
    ],
)
def test_a_job_that_no_operator_makes(
    bench: Bench, server: SmtpServer, values: dict[str, str], change: dict[str, str], words: str
) -> None:
    exit_code, message = finish(bench, start(bench, values | change))
    assert exit_code == ExitCode.BAD_REQUEST
    assert words in str(message)
    assert "start the export again" not in str(message)
    assert server.steps == []
