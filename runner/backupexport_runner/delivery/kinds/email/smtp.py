"""One conversation with a mail server: each step has a time limit and a failure.

smtplib's own `sendmail` and `login` are not used: `login` can't take a password beyond ASCII and
tries mechanisms that are no safer than PLAIN within TLS, and both raise errors that hold addresses.
"""

import contextlib
import re
import smtplib
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

from backupexport_contract.reasons import ExitCode

from backupexport_runner.delivery.kinds.email import smtp_failures
from backupexport_runner.delivery.kinds.email.smtp_failures import LOGIN
from backupexport_runner.delivery.tls import tls_context
from backupexport_runner.task.failure import Failure

_SECONDS_FOR_GOODBYE = 3


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where the mail is sent to; `tls` is starttls, tls or none, `login` username and password."""

    host: str
    port: int
    tls: str
    ca_certificates: str | None = None
    login: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail: its addresses, and its bytes on the wire."""

    sender: str
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits in seconds: for a connection, and then as RFC 5321, 4.5.3.2 asks of clients.

    Servers that scan the mail take minutes, and a client that doesn't wait for the answer to a mail
    sends it twice.  `until_sent` is the limit for everything before that answer.
    """

    connect: float = 30
    answer: float = 300
    data: float = 120
    mail: float = 600
    until_sent: float = 1200


def send(mail: Mail, server: MailServer, check: Callable[[], None], patience: Patience) -> None:
    """Hands the mail over.  Raises Failure; `check` raises it if the process has to stop.

    The conversation has a thread of its own, because nothing else limits the time of a name's
    look-up, or of a server that sends a byte now and then.  The thread ends with the process.
    """
    ended: Future[None] = Future()
    conversation = _Conversation(mail, server, patience)

    def converse() -> None:
        try:
            conversation.run(check)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            ended.set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=converse, name="mail", daemon=True).start()
    wait([ended], timeout=patience.until_sent)
    if not ended.done() and conversation.is_sent:
        wait([ended], timeout=patience.mail)
    if ended.done():
        return ended.result()
    if conversation.is_sent:
        raise smtp_failures.maybe_sent(f"{server} came to no end")
    raise smtp_failures.not_sent(
        f"the conversation with {server} was not over in {patience.until_sent:g} seconds"
    )


class _Conversation:
    def __init__(self, mail: Mail, server: MailServer, patience: Patience) -> None:
        self._mail, self._server, self._patience = mail, server, patience
        self.is_sent = False
        """Whether the server may have the complete mail, whatever it answers."""

    def run(self, check: Callable[[], None]) -> None:
        context = tls_context(self._server.ca_certificates)
        check()
        with self._errors(None):
            smtp = self._connect(context)
        try:
            with self._errors(None):
                code, reply = smtp.getreply()
            if code != 220:
                raise self._refusal("the connection", code, reply)
            self._step("EHLO", smtp.ehlo)
            if self._server.tls == "starttls":
                self._start_tls(smtp, context)
                self._step("EHLO", smtp.ehlo)
            if self._server.login is not None:
                self._log_in(smtp, *self._server.login)
            check()
            self._hand_over(smtp, check)
        finally:
            _say_goodbye(smtp)

    def _connect(self, context: ssl.SSLContext) -> smtplib.SMTP:
        # Not by smtplib, which has one time limit for the connection and the greeting together.
        server = self._server
        connected = socket.create_connection((server.host, server.port), self._patience.connect)
        try:
            if server.tls == "tls":
                connected = context.wrap_socket(connected, server_hostname=server.host)
            connected.settimeout(self._patience.answer)
            address: str = connected.getsockname()[0].partition("%")[0]
        except BaseException:
            connected.close()
            raise
        # RFC 5321, 4.1.3: a client without a name that others can look up gives its address, and
        # others can't look up a pod's name.
        name = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        smtp = smtplib.SMTP(local_hostname=name)
        smtp.sock = connected
        return smtp

    def _start_tls(self, smtp: smtplib.SMTP, context: ssl.SSLContext) -> None:
        if not smtp.has_extn("starttls"):
            raise smtp_failures.not_sent(
                f"{self._server} offers no STARTTLS and nothing was sent: set tls of "
                "deliveries.email to what the server speaks, or find who removes the offer"
            )
        with self._errors("STARTTLS"):
            code, _ = smtp.docmd("STARTTLS")
            if code != 220:
                raise smtp_failures.not_sent(
                    f"{self._server} refuses STARTTLS with {code} and nothing was sent"
                )
            if smtp.sock is None:
                raise smtplib.SMTPServerDisconnected
            smtp.sock = context.wrap_socket(smtp.sock, server_hostname=self._server.host)
            # smtplib's buffer may hold what someone sent in the clear after that answer.
            smtp.file = None

    def _log_in(self, smtp: smtplib.SMTP, username: str, password: str) -> None:
        offered = smtp.esmtp_features.get("auth", "").upper().split()
        if "PLAIN" in offered:
            # RFC 4616.
            plain = _base64(f"\0{username}\0{password}")
            self._step(LOGIN, lambda: smtp.docmd("AUTH", f"PLAIN {plain}"))
        elif "LOGIN" in offered:
            self._step(LOGIN, lambda: smtp.docmd("AUTH", "LOGIN"), expected=3)
            self._step(LOGIN, lambda: smtp.docmd(_base64(username)), expected=3)
            self._step(LOGIN, lambda: smtp.docmd(_base64(password)))
        else:
            raise Failure(
                ExitCode.AUTHENTICATION_FAILED,
                f"The mail server {self._server} offers neither AUTH PLAIN nor AUTH LOGIN: give it "
                "another way to log in, or take secretRef from deliveries.email where it needs "
                "none.",
            )

    def _hand_over(self, smtp: smtplib.SMTP, check: Callable[[], None]) -> None:
        self._step("MAIL", lambda: smtp.mail(self._mail.sender))
        self._step("RCPT", lambda: smtp.rcpt(self._mail.recipient))
        check()
        _set_timeout(smtp, self._patience.data)
        self._step("DATA", lambda: smtp.docmd("DATA"), expected=3)
        _set_timeout(smtp, self._patience.mail)
        with self._errors("the mail"):
            # RFC 5321, 4.5.2: a dot at the begin of a line is doubled, one alone ends the mail.
            smtp.send(re.sub(rb"(?m)^\.", b"..", self._mail.content) + b".\r\n")
        self.is_sent = True
        self._step("the mail", smtp.getreply)

    def _step(self, name: str, command: Callable[[], tuple[int, bytes]], expected: int = 2) -> None:
        """Sends one command; `expected` is the first digit of its answer."""
        with self._errors(name):
            code, reply = command()
        if code // 100 != expected:
            raise self._refusal(name, code, reply)

    @contextlib.contextmanager
    def _errors(self, step: str | None) -> Iterator[None]:
        try:
            yield
        except (OSError, smtplib.SMTPException) as error:
            # Not as its cause: smtplib's errors hold addresses, and a traceback would show them.
            server = str(self._server)
            if self.is_sent:
                raise smtp_failures.lost_answer(error, server) from None
            raise smtp_failures.of_error(error, server, step) from None

    def _refusal(self, step: str, code: int, reply: bytes) -> Failure:
        text = reply.decode("ascii", "replace")
        return smtp_failures.of_reply(step, code, text, str(self._server), self._mail.recipient)


def _say_goodbye(smtp: smtplib.SMTP) -> None:
    """Sends QUIT (RFC 5321, 4.1.1.10) and ignores errors: the mail was taken before, or not."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        if smtp.sock is not None:
            _set_timeout(smtp, _SECONDS_FOR_GOODBYE)
            smtp.quit()
    smtp.close()


def _set_timeout(smtp: smtplib.SMTP, seconds: float) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
