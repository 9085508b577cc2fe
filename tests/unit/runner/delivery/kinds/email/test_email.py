"""Mails to a strict server on loopback: what arrives, and what is said where nothing does."""

import json
import re
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract import rules
from backupexport_contract.deliveries import EmailDelivery
from backupexport_contract.reasons import FATAL_DELIVERY_EXIT_CODES, ExitCode
from backupexport_contract.runner_protocol import export_end_text
from backupexport_runner.delivery import attempt
from backupexport_runner.delivery.kinds import email
from backupexport_runner.delivery.kinds.email.smtp import Mail, MailServer, Patience, send
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from certificate_authority import Authority
from mails import ADDRESS, SENDER, delivery_environment, end_of
from runner_bench import JOB_ID
from secret_files import mount
from smtp_server import CUT, DRIP, HANG, PASSWORD, TAKE_AND_CUT, USERNAME, SmtpServer

# Python leaves the socket of a handshake open whose client has just been killed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOGIN = {"username": USERNAME, "password": PASSWORD}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # Short only where a server is meant to hang: a busy machine takes its time to answer.
    parameters = getattr(request.node, "callspec", None)
    hangs = parameters and {HANG, "220-"} & set(map(str, parameters.params.values()))
    seconds = 2 if hangs else 60
    monkeypatch.setattr(
        email, "_PATIENCE", Patience(seconds, seconds, seconds, seconds, until_sent=120)
    )


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
    with tempfile.TemporaryDirectory() as directory:
        outcome = attempt.deliver(
            "email",
            mount(delivery_environment(settings, secret, **values), Path(directory)),
            Configuration(exports=Path("/nowhere"), secret=Path(directory)),
            Log(Scrubber()),
            interruption or Interruption(),
        )
    assert outcome.message is not None
    return outcome.message


def failure_of(
    settings: dict[str, Any], secret: dict[str, str] | None = None, **values: str
) -> Failure:
    with pytest.raises(Failure) as caught:
        deliver(settings, secret, None, **values)
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
    assert parsed["Message-ID"] == f"<{JOB_ID}@backupexport.dev>"
    assert parsed["To"] == ADDRESS
    assert clear.hellos == ["[127.0.0.1]"]
    assert clear.steps[-1] == "QUIT"


def test_a_mail_over_tls_with_a_login(encrypted: SmtpServer, authority: Authority) -> None:
    deliver(settings_for(encrypted, caCertificates=authority.pem), LOGIN)
    (mail,) = encrypted.taken
    assert (mail.is_encrypted, mail.username) == (True, USERNAME)


def test_a_login_without_plain(encrypted: SmtpServer, authority: Authority) -> None:
    encrypted.mechanisms = "XOAUTH2 LOGIN"
    deliver(settings_for(encrypted, caCertificates=authority.pem), LOGIN)
    assert [mail.username for mail in encrypted.taken] == [USERNAME]


def test_a_repeat_is_the_same_mail(clear: SmtpServer) -> None:
    deliver(settings_for(clear))
    deliver(settings_for(clear))
    first, second = clear.taken
    assert first == second


def test_both_certificates_of_a_bundle_are_trusted(
    encrypted: SmtpServer, authority: Authority, tmp_path: Path
) -> None:
    bundle = Authority(tmp_path, "another").pem + authority.pem
    deliver(settings_for(encrypted, caCertificates=bundle), LOGIN)
    assert len(encrypted.taken) == 1


# Step, reply -> verdict, and words of the sentence.
REFUSALS = [
    ("greeting", "554 5.7.1 no service", ExitCode.DELIVERY_REFUSED, "554 5.7.1 no service"),
    ("greeting", "421 too busy", ExitCode.DELIVERY_DEFERRED, "421 too busy"),
    ("greeting", "HTTP/1.1 400 Bad Request", ExitCode.CONNECTION_FAILED, "check host, port"),
    ("greeting", "220-", ExitCode.CONNECTION_FAILED, "time run out"),
    ("EHLO", "550 go away", ExitCode.DELIVERY_REFUSED, "EHLO with: 550 go away"),
    ("EHLO", "421 4.3.2 closing", ExitCode.DELIVERY_DEFERRED, "421"),
    ("MAIL", "550 5.7.1 sender denied", ExitCode.DELIVERY_REFUSED, "deliveries.email.from"),
    ("MAIL", "530 5.7.0 login first", ExitCode.AUTHENTICATION_FAILED, "wants a login"),
    ("MAIL", "451 4.7.1 later", ExitCode.DELIVERY_DEFERRED, "tried again"),
    ("MAIL", "452 4.3.1 full", ExitCode.DELIVERY_DEFERRED, "452"),
    ("RCPT", "550 5.1.1 unknown", ExitCode.DELIVERY_REFUSED, "check notifyEmail"),
    ("RCPT", "450 4.2.0 greylisted", ExitCode.DELIVERY_DEFERRED, "RCPT with: 450 4.2.0 greylisted"),
    ("RCPT", "421 4.3.2 closing", ExitCode.DELIVERY_DEFERRED, "421"),
    ("DATA", "554 5.5.1 no recipients", ExitCode.DELIVERY_REFUSED, "DATA with: 554"),
    ("DATA", "451 4.3.0 later", ExitCode.DELIVERY_DEFERRED, "451"),
    ("DATA", "250 what?", ExitCode.CONNECTION_FAILED, "doesn't speak"),
    ("content", "554 5.6.0 spam", ExitCode.DELIVERY_REFUSED, "554 5.6.0 spam"),
    ("content", "552 5.3.4 too big", ExitCode.DELIVERY_REFUSED, "552"),
    ("content", "451 4.3.0 later", ExitCode.DELIVERY_DEFERRED, "451"),
    ("content", "354 what?", ExitCode.CONNECTION_FAILED, "doesn't speak"),
]


@pytest.mark.parametrize(("step", "reply", "exit_code", "words"), REFUSALS)
def test_a_refusal(
    clear: SmtpServer, step: str, reply: str, exit_code: ExitCode, words: str
) -> None:
    clear.replies[step] = reply
    failure = failure_of(settings_for(clear))
    assert (failure.exit_code, words in failure.message) == (exit_code, True), failure.message
    assert clear.taken == []
    assert clear.steps[-1] == step


# The server has the mail after `content`: whoever can't know that must send it again.
@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"])
@pytest.mark.parametrize(
    ("action", "words"),
    [(CUT, "cut the connection"), (HANG, "time run out"), (DRIP, "not over|came to no end")],
)
def test_a_lost_connection(
    clear: SmtpServer, step: str, action: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if action == DRIP:
        # The mail has to be on its way by then where it is the last answer that drips.
        seconds = 5 if step == "content" else 1
        monkeypatch.setattr(email, "_PATIENCE", Patience(mail=1, until_sent=seconds))
    clear.replies[step] = action
    failure = failure_of(settings_for(clear))
    assert re.search(words, failure.message)
    assert clear.taken == []
    if step == "content":
        assert failure.exit_code == ExitCode.DELIVERY_DEFERRED
        assert failure.message.startswith("The mail may have been sent: ")
        assert "with the same Message-ID" in failure.message
    else:
        assert failure.exit_code == ExitCode.CONNECTION_FAILED
        assert failure.message.startswith("No mail yet: ")


@pytest.mark.parametrize("action", [CUT, HANG, "500 what?", "421 closing"])
def test_the_goodbye_changes_nothing(clear: SmtpServer, action: str) -> None:
    clear.replies["QUIT"] = action
    assert "took the mail" in deliver(settings_for(clear))
    assert len(clear.taken) == 1


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"])
def test_each_answer_has_a_time_of_its_own(
    clear: SmtpServer, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = {"DATA": "data", "content": "mail"}
    short = replace(Patience(until_sent=15), **{bounds.get(step, "answer"): 0.2})
    monkeypatch.setattr(email, "_PATIENCE", short)
    clear.replies[step] = HANG
    assert "time run out" in failure_of(settings_for(clear)).message


@pytest.mark.parametrize("step", ["greeting", "RCPT", "DATA", "content"])
def test_a_slow_answer_is_waited_for_longer_than_a_connection(
    clear: SmtpServer, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(email, "_PATIENCE", replace(Patience(), connect=0.2, until_sent=60))
    clear.on_step = lambda reached: time.sleep(0.5 if reached == step else 0)
    deliver(settings_for(clear))
    assert len(clear.taken) == 1


def test_the_answer_to_the_mail_is_waited_for_however_long_the_rest_took(
    clear: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for all that comes before it, on a busy machine, too.
    monkeypatch.setattr(email, "_PATIENCE", replace(Patience(), until_sent=5))
    clear.on_step = lambda reached: time.sleep(6 if reached == "content" else 0)
    deliver(settings_for(clear))
    assert len(clear.taken) == 1


def test_the_times_are_those_of_the_standard_and_fit_into_an_attempt() -> None:
    """RFC 5321, 4.5.3.2."""
    patience = Patience()
    assert patience.answer >= 5 * 60
    assert patience.data >= 2 * 60
    assert patience.mail >= 10 * 60
    assert patience.connect <= 30
    # Someone who waits as long for the greeting, RCPT and DATA is heard out.
    assert patience.until_sent >= 2 * patience.answer + patience.data
    # The rest is for the pod, which the operator gives five minutes to start.
    attempt = EmailDelivery.attempt_seconds
    assert attempt is not None
    assert attempt >= patience.until_sent + patience.mail + 5 * 60


def test_the_message_id_is_the_same_whatever_the_settings_are_by_then(clear: SmtpServer) -> None:
    deliver(settings_for(clear))
    deliver(settings_for(clear, **{"from": "other@moved.example.org"}))
    ids = [message_from_bytes(mail.content)["Message-ID"] for mail in clear.taken]
    assert ids == [f"<{JOB_ID}@backupexport.dev>"] * 2


def test_a_mail_that_was_taken_in_silence_is_sent_again(clear: SmtpServer) -> None:
    clear.replies["content"] = TAKE_AND_CUT
    failure = failure_of(settings_for(clear))
    assert failure.exit_code == ExitCode.DELIVERY_DEFERRED
    assert "may have been sent" in failure.message
    clear.replies.clear()
    deliver(settings_for(clear))
    first, second = clear.taken
    assert first == second


@pytest.mark.parametrize(
    ("step", "reply", "exit_code"),
    [
        ("AUTH", "535 5.7.8 bad", ExitCode.AUTHENTICATION_FAILED),
        ("AUTH", "534 5.7.9 application-specific", ExitCode.AUTHENTICATION_FAILED),
        ("AUTH", "504 5.5.4 unknown", ExitCode.AUTHENTICATION_FAILED),
        ("AUTH", "454 4.7.0 later", ExitCode.DELIVERY_DEFERRED),
        ("AUTH", "421 closing", ExitCode.DELIVERY_DEFERRED),
        ("AUTH", "334 ", ExitCode.CONNECTION_FAILED),
        ("AUTH", CUT, ExitCode.CONNECTION_FAILED),
        ("AUTH", HANG, ExitCode.CONNECTION_FAILED),
        ("login", "535 5.7.8 bad", ExitCode.AUTHENTICATION_FAILED),
        ("login", CUT, ExitCode.CONNECTION_FAILED),
        ("password", "535 5.7.8 bad", ExitCode.AUTHENTICATION_FAILED),
        ("password", "454 4.7.0 later", ExitCode.DELIVERY_DEFERRED),
    ],
)
def test_a_refused_login(
    encrypted: SmtpServer, authority: Authority, step: str, reply: str, exit_code: ExitCode
) -> None:
    if step in {"login", "password"}:
        encrypted.mechanisms = "LOGIN"
    encrypted.replies[step] = reply
    failure = failure_of(settings_for(encrypted, caCertificates=authority.pem), LOGIN)
    assert failure.exit_code == exit_code
    assert "MAIL" not in encrypted.steps


def test_a_wrong_password(encrypted: SmtpServer, authority: Authority) -> None:
    settings = settings_for(encrypted, caCertificates=authority.pem)
    failure = failure_of(settings, LOGIN | {"password": "other"})
    assert failure.exit_code == ExitCode.AUTHENTICATION_FAILED
    assert "correct username and password" in failure.message


def test_no_login_where_one_is_wanted(encrypted: SmtpServer, authority: Authority) -> None:
    failure = failure_of(settings_for(encrypted, caCertificates=authority.pem))
    assert failure.exit_code == ExitCode.AUTHENTICATION_FAILED
    assert "set secretRef" in failure.message


def test_no_login_that_is_known(encrypted: SmtpServer, authority: Authority) -> None:
    encrypted.mechanisms = "XOAUTH2 CRAM-MD5"
    failure = failure_of(settings_for(encrypted, caCertificates=authority.pem), LOGIN)
    assert failure.exit_code == ExitCode.AUTHENTICATION_FAILED
    assert "neither AUTH PLAIN nor AUTH LOGIN" in failure.message


def test_a_secret_with_nothing_in_it(clear: SmtpServer) -> None:
    failure = failure_of(settings_for(clear, tls="starttls"), {})
    # It may come, and the delivery is made then.
    assert failure.exit_code == ExitCode.SECRET_MISSING
    assert failure.exit_code not in FATAL_DELIVERY_EXIT_CODES
    assert clear.steps == []


@pytest.mark.parametrize("missing", ["username", "password"])
def test_half_a_login(clear: SmtpServer, missing: str) -> None:
    secret = {key: value for key, value in LOGIN.items() if key != missing}
    failure = failure_of(settings_for(clear, tls="starttls"), secret)
    assert failure.exit_code == ExitCode.SECRET_INVALID
    assert missing in failure.message
    assert clear.steps == []


def test_no_login_in_the_clear(clear: SmtpServer) -> None:
    assert failure_of(settings_for(clear), LOGIN).exit_code == ExitCode.BAD_REQUEST
    assert clear.steps == []


@pytest.mark.parametrize("secret", [None, LOGIN])
def test_starttls_that_is_taken_away(clear: SmtpServer, secret: dict[str, str] | None) -> None:
    failure = failure_of(settings_for(clear, tls="starttls"), secret)
    assert failure.exit_code == ExitCode.CONNECTION_FAILED
    assert "offers no STARTTLS" in failure.message
    assert clear.steps == ["greeting", "EHLO", "QUIT"]


@pytest.mark.parametrize(
    "reply", ["454 4.7.0 no TLS", "501 syntax", CUT, HANG, "220 go ahead\r\n250-mail.test"]
)
def test_starttls_that_fails(authority: Authority, reply: str) -> None:
    with SmtpServer(tls="starttls", certificate=authority.issue("127.0.0.1")) as server:
        server.replies["STARTTLS"] = reply
        settings = settings_for(server, caCertificates=authority.pem)
        assert failure_of(settings, LOGIN).exit_code == ExitCode.CONNECTION_FAILED
        assert server.steps[:3] == ["greeting", "EHLO", "STARTTLS"]
        assert set(server.steps[3:]) <= {"QUIT"}


@pytest.mark.parametrize(
    ("host", "days", "words"),
    [
        ("127.0.0.2", 1, "a name in it"),
        ("mail.test", 1, "a name in it"),
        ("127.0.0.1", -1, "expired"),
    ],
)
@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_wrong_certificate(
    authority: Authority, tls: str, host: str, days: int, words: str
) -> None:
    with SmtpServer(tls=tls, certificate=authority.issue(host, days)) as server:
        failure = failure_of(settings_for(server, caCertificates=authority.pem), LOGIN)
    assert failure.exit_code == ExitCode.CONNECTION_FAILED
    assert "is not trusted" in failure.message
    assert words in failure.message
    assert not {"AUTH", "MAIL"} & set(server.steps)


@pytest.mark.parametrize("is_another_given", [True, False])
@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_an_unknown_authority(
    authority: Authority, tmp_path: Path, tls: str, is_another_given: bool
) -> None:
    given = {"caCertificates": Authority(tmp_path, "another").pem} if is_another_given else {}
    with SmtpServer(tls=tls, certificate=authority.issue("127.0.0.1")) as server:
        failure = failure_of(settings_for(server, **given), LOGIN)
    assert failure.exit_code == ExitCode.CONNECTION_FAILED
    assert "caCertificates must hold its authority" in failure.message
    assert not {"AUTH", "MAIL"} & set(server.steps)


@pytest.mark.parametrize("pem", ["rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n", "é", " "])
def test_certificates_that_are_none(clear: SmtpServer, pem: str) -> None:
    failure = failure_of(settings_for(clear, caCertificates=pem, tls="starttls"))
    assert failure.exit_code == ExitCode.DELIVERY_REFUSED
    assert "no certificate in PEM" in failure.message
    assert clear.steps == []


def test_a_comment_in_any_language_is_no_part_of_a_certificate(
    encrypted: SmtpServer, authority: Authority
) -> None:
    pem = f"# AC Raíz, до 2030\n{authority.pem}"
    deliver(settings_for(encrypted, caCertificates=pem), LOGIN)
    assert len(encrypted.taken) == 1


def test_the_system_has_certificates_of_its_own(
    encrypted: SmtpServer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "system.pem"
    bundle.write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    deliver(settings_for(encrypted), LOGIN)
    assert len(encrypted.taken) == 1


def test_tls_with_a_server_that_speaks_none() -> None:
    with SmtpServer() as server:
        failure = failure_of(settings_for(server, tls="tls"), LOGIN)
    assert set(server.steps) <= {"greeting"}
    assert failure.exit_code == ExitCode.CONNECTION_FAILED
    assert "no TLS with" in failure.message


def test_nothing_listens(clear: SmtpServer) -> None:
    with SmtpServer() as gone:
        pass
    failure = failure_of(settings_for(gone))
    assert failure.exit_code == ExitCode.CONNECTION_FAILED
    assert "nothing listens at 127.0.0.1" in failure.message


def test_a_name_that_is_not_found(clear: SmtpServer) -> None:
    failure = failure_of(settings_for(clear, host="mail.invalid"))
    assert failure.exit_code == ExitCode.CONNECTION_FAILED


@pytest.mark.parametrize(
    "reply",
    [
        f"550 5.1.1 <{ADDRESS}>: unknown",
        f"550-5.1.1 {ADDRESS.lower()}\r\n550 5.1.1 unknown {ADDRESS.upper()}",
        "550 no such user jane.canary here",
        "550 forwarded to canary-other@elsewhere.example: refused",
        '550 "Jane.Canary"@example.com?',
        f"550 {'x' * 5000}",
        "550 \x1b[31mred\x07",
    ],
)
def test_a_reply_is_repeated_without_the_address(clear: SmtpServer, reply: str) -> None:
    clear.replies["RCPT"] = reply
    failure = failure_of(settings_for(clear))
    assert failure.exit_code == ExitCode.DELIVERY_REFUSED
    assert len(failure.message) < 500
    assert failure.message.isascii()
    assert failure.message.isprintable()


@pytest.mark.parametrize("code", [421, 454, 535])
def test_a_reply_to_the_login_is_not_repeated(
    encrypted: SmtpServer, authority: Authority, code: int
) -> None:
    plain = b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode()
    encrypted.replies["AUTH"] = f"{code} 5.7.8 no: {USERNAME.upper()} {PASSWORD} {plain[:20]}"
    settings = settings_for(encrypted, caCertificates=authority.pem)
    message = failure_of(settings, LOGIN).message
    assert f" {code} 5.7.8;" in message
    assert "no:" not in message
    encrypted.replies["AUTH"] = f"{code} canary"
    assert f" {code};" in failure_of(settings, LOGIN).message


def test_a_stop_before_the_mail(clear: SmtpServer) -> None:
    interruption = Interruption()

    def stop(step: str) -> None:
        interruption.requested = interruption.requested or step == "RCPT"

    clear.on_step = stop
    with pytest.raises(Failure) as caught:
        deliver(settings_for(clear), interruption=interruption)
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    assert clear.taken == []
    assert "DATA" not in clear.steps


@pytest.mark.parametrize(
    "settings",
    [{}, {"host": ""}, {"host": "a", "tls": "ssl"}, {"host": "a", "port": "25"}, {"host": 7}],
)
def test_settings_that_are_none(settings: dict[str, Any]) -> None:
    assert failure_of({"from": SENDER} | settings).exit_code == ExitCode.BAD_REQUEST


@pytest.mark.parametrize("tls", ["ssl", "STARTTLS", "", None, ["tls"]])
def test_tls_that_nobody_knows_is_not_no_tls(clear: SmtpServer, tls: Any) -> None:
    failure = failure_of(settings_for(clear, tls=tls))
    assert failure.exit_code == ExitCode.BAD_REQUEST
    assert "tls" in failure.message
    assert clear.steps == []


@pytest.mark.parametrize(
    ("tls", "port"), [("starttls", 587), ("tls", 465), ("none", 25), (None, 587)]
)
def test_the_usual_ports(tls: str | None, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(email, "send", lambda _, server, *__: seen.append(server))
    deliver({"host": "mail.test", "from": SENDER} | ({"tls": tls} if tls else {}))
    (server,) = seen
    assert (server.port, str(server)) == (port, f"mail.test:{port}")
    assert str(replace(server, host="2001:db8::1")) == f"[2001:db8::1]:{port}"


def test_what_the_mails_builder_cannot_take_ends_it(
    clear: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "=?utf-8?q?canary?=@example.com"
    assert rules.first_broken(rules.EMAIL, address) is not None
    monkeypatch.setattr(rules, "EMAIL", ())
    end = export_end_text(end_of(notify_email=address))
    failure = failure_of(settings_for(clear), EXPORT_END=end)
    assert failure.exit_code in FATAL_DELIVERY_EXIT_CODES
    assert "no mail can be made of it (InvalidHeaderDefect)" in failure.message
    assert "start the export again" not in failure.message
    assert clear.steps == []


def test_no_end_is_no_mail(clear: SmtpServer) -> None:
    for text in ("", "[]", json.dumps({"phase": "Succeeded", "unheard": 1})):
        failure = failure_of(settings_for(clear), EXPORT_END=text)
        assert failure.exit_code == ExitCode.BAD_REQUEST
    assert clear.steps == []


def test_lines_that_begin_with_a_dot(clear: SmtpServer) -> None:
    content = b"Subject: x\r\n\r\n.\r\n..a\r\nb.\r\n"
    server = MailServer("127.0.0.1", clear.port, "none")
    send(Mail(SENDER, ADDRESS, content), server, lambda: None, Patience())
    assert [mail.content for mail in clear.taken] == [content]
