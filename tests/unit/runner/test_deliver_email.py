"""Mails to a strict server on loopback: what arrives, and what is said where nothing does."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner import delivery
from backupexport_runner.deliveries import email
from backupexport_runner.failures import RunnerFailure
from backupexport_runner.interruption import Interruption
from backupexport_runner.log import Log
from backupexport_runner.scrubbing import Scrubber
from backupexport_runner.smtp_conversation import Patience
from certificate_authority import Authority
from mails import ADDRESS, SENDER, delivery_environment
from runner_bench import JOB_ID
from smtp_server import CUT, DRIP, HANG, PASSWORD, TAKE_AND_CUT, USERNAME, SmtpServer

LOGIN = {"username": USERNAME, "password": PASSWORD}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough for a busy machine; what hangs is meant to.
    monkeypatch.setattr(email, "_PATIENCE", Patience(connect=5, answer=1, mail=1, whole=5))


@pytest.fixture
def clear() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server
    assert server.violations == []


@pytest.fixture(params=["starttls", "tls"])
def encrypted(authority: Authority, request: pytest.FixtureRequest) -> Iterator[SmtpServer]:
    with SmtpServer(
        tls=request.param,
        certificate=authority.issue("127.0.0.1"),
        logins={USERNAME: PASSWORD},
    ) as server:
        yield server
    assert server.violations == []


def settings_for(server: SmtpServer, **values: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": server.tls,
        "from": SENDER,
    } | values


def deliver(
    settings: dict[str, Any],
    secret: dict[str, str] | None = None,
    interruption: Interruption | None = None,
    **values: str,
) -> str:
    scrubber = Scrubber()
    outcome = delivery.deliver(
        "email",
        delivery_environment(settings, secret, **values),
        Path("/nowhere"),
        Log(scrubber),
        scrubber,
        interruption or Interruption(),
    )
    assert outcome.message is not None
    return outcome.message


def failure_of(
    settings: dict[str, Any], secret: dict[str, str] | None = None, **values: str
) -> RunnerFailure:
    with pytest.raises(RunnerFailure) as caught:
        deliver(settings, secret, **values)
    failure = caught.value
    # Not even a traceback has what smtplib says.
    assert failure.__cause__ is None
    assert failure.__suppress_context__ or failure.__context__ is None
    assert "\n" not in failure.message
    assert re.search(r"(?i)jane|canary|mailer", failure.message) is None
    return failure


def test_a_mail_arrives(clear: SmtpServer) -> None:
    message = deliver(settings_for(clear))
    assert message == f"The mail server 127.0.0.1:{clear.port} took the mail."
    (mail,) = clear.taken
    assert (mail.sender, mail.recipient) == (SENDER, ADDRESS)
    parsed = message_from_bytes(mail.content, policy=policy.default)
    assert parsed["Message-ID"] == f"<{JOB_ID}@backup.example.com>"
    assert parsed["To"] == ADDRESS
    assert clear.hellos == ["[127.0.0.1]"]
    assert clear.steps[-1] == "QUIT"
