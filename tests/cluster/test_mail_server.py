"""The mail server that other tests trust: it is as strict as a real one, and loses nothing."""

import secrets
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from mail_client import Outcome, send, start_and_reach, start_client
from playground.certificates import server_certificate
from playground.mail_server import MailServer
from playground.tools import ToolError, namespace, wait_for

TLS = ("starttls", "tls")
SENT = Outcome(250, None)


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with namespace(f"backupexport-mail-{secrets.token_hex(3)}") as name:
        start_client(name)
        server = MailServer(name)
        start_and_reach(server)
        yield server


def mail(message_id: str) -> str:
    message = EmailMessage()
    message["From"] = "Exports <from@example.org>"
    message["To"] = "to@example.org"
    message["Subject"] = "Grüße"
    message["Message-ID"] = message_id
    message.set_content("plain\n")
    message.add_alternative("<p>rich</p>\n", subtype="html")
    return message.as_string()


def send_with_login(server: MailServer, text: str, tls: str) -> Outcome:
    return send(server, text, tls=tls, login=server.login, authority=server.authority)


@pytest.mark.parametrize("tls", TLS)
def test_a_mail_arrives_as_it_was_sent(server: MailServer, tls: str) -> None:
    name = f"{tls}@example.org"
    assert send_with_login(server, mail(f"<{name}>"), tls) == SENT
    [heading] = [one for one in server.messages() if one.message_id == name]
    assert (heading.sender, heading.recipients) == ("from@example.org", ("to@example.org",))
    assert heading.subject == "Grüße"
    message = server.message(heading.id)
    assert message.text.strip() == "plain"
    assert message.html.strip() == "<p>rich</p>"
    assert message.headers["Message-Id"] == [f"<{name}>"]
    assert f"Message-ID: <{name}>" in message.raw


@pytest.mark.parametrize("tls", TLS)
def test_nobody_sends_without_the_login(server: MailServer, tls: str) -> None:
    before, authority = server.messages(), server.authority
    username, password = server.login
    without = send(server, mail("<no@example.org>"), tls=tls, login=None, authority=authority)
    assert (without.code, without.error) == (530, "SMTPSenderRefused")
    wrong = (username, f"{password}x")
    refused = send(server, mail("<no@example.org>"), tls=tls, login=wrong, authority=authority)
    assert (refused.code, refused.error) == (535, "SMTPAuthenticationError")
    assert server.messages() == before


def test_without_tls_nothing_is_taken(server: MailServer) -> None:
    before, authority = server.messages(), server.authority
    for login in (None, server.login):
        outcome = send(
            server, mail("<no@example.org>"), tls="none", login=login, authority=authority
        )
        assert outcome.code == 530
    assert server.messages() == before


@pytest.mark.parametrize("tls", TLS)
def test_only_its_own_authority_vouches_for_it(server: MailServer, tls: str) -> None:
    stranger = server_certificate([server.host]).authority
    outcome = send(
        server, mail("<no@example.org>"), tls=tls, login=server.login, authority=stranger
    )
    assert outcome == Outcome(None, "SSLCertVerificationError")


def test_it_can_be_taken_away_and_comes_back_with_its_mail(server: MailServer) -> None:
    login, authority = server.login, server.authority
    assert (
        send(server, mail("<kept@example.org>"), tls="tls", login=login, authority=authority)
        == SENT
    )
    before = server.messages()
    server.stop()

    def is_refused() -> bool:
        gone = send(server, mail("<no@example.org>"), tls="tls", login=login, authority=authority)
        assert gone.code is None
        return gone == Outcome(None, "ConnectionRefusedError")

    # The node goes on leading there, to nobody, for a moment after the pod is gone.
    wait_for(is_refused, "a refusal", 120)
    with pytest.raises(ToolError):
        server.messages()
    start_and_reach(server)
    assert (server.login, server.authority) == (login, authority)
    assert server.messages() == before
    assert (
        send(server, mail("<again@example.org>"), tls="tls", login=login, authority=authority)
        == SENT
    )
