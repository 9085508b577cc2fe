"""One conversation with a mail server: each step has a deadline and a verdict.

smtplib's own `sendmail` and `login` are not used: they try the login in ways that need no
password to be safe, can't take one beyond ASCII, and raise errors with addresses in them.
"""

import contextlib
import queue
import re
import smtplib
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backupexport_runner.delivery.kinds.email import smtp_failures
from backupexport_runner.delivery.kinds.email.smtp_failures import LOGIN
from backupexport_runner.delivery.tls import tls_context
from backupexport_runner.task.failure import Failure

_SECONDS_FOR_GOODBYE = 3


@dataclass(frozen=True, slots=True)
class Login:
    """Who sends."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where the mail goes; `tls` is starttls, tls or none."""

    host: str
    port: int
    tls: str
    ca_certificates: str | None = None
    login: Login | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail with its addresses."""

    sender: str
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a connection, and then what RFC 5321, 4.5.3.2 has clients wait.

    Servers that call the sender back, or have a mail scanned, do take minutes, and who doesn't
    wait for the answer to a mail sends it twice.  `until_sent` bounds all that comes before that
    answer together.
    """

    connect: float = 30
    answer: float = 300
    data: float = 120
    mail: float = 600
    until_sent: float = 1200


def send(mail: Mail, server: MailServer, check: Callable[[], None], patience: Patience) -> None:
    """Hand the mail over, or Failure; `check` raises where the process has to stop.

    In a thread of its own, because neither a name's look-up nor a server that sends a byte now
    and then can be bounded in any other way.  It ends with the process.
    """
    ended: queue.SimpleQueue[Failure | Exception | None] = queue.SimpleQueue()
    conversation = _Conversation(mail, server, patience)

    def converse() -> None:
        try:
            conversation.run(check)
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=converse, name="mail", daemon=True).start()
    try:
        try:
            problem = ended.get(timeout=patience.until_sent)
        except queue.Empty:
            if not conversation.is_sent:
                raise
            problem = ended.get(timeout=patience.mail)
    except queue.Empty:
        if conversation.is_sent:
            raise smtp_failures.answer_too_slow(str(server)) from None
        raise smtp_failures.too_slow(str(server), patience.until_sent) from None
    if problem is not None:
        raise problem


class _Conversation:
    def __init__(self, mail: Mail, server: MailServer, patience: Patience) -> None:
        self._mail, self._server, self._patience = mail, server, patience
        self.is_sent = False
        """Whether the server may have the whole mail, whatever it answers."""

    def run(self, check: Callable[[], None]) -> None:
        context = tls_context(self._server.ca_certificates)
        check()
        with self._errors(None):
            smtp = self._connect(context)
        try:
            self._greet(smtp)
            self._hello(smtp)
            if self._server.tls == "starttls":
                self._start_tls(smtp, context)
                self._hello(smtp)
            if self._server.login is not None:
                self._log_in(smtp, self._server.login)
            check()
            self._hand_over(smtp, check)
        finally:
            _say_goodbye(smtp)

    def _connect(self, context: ssl.SSLContext) -> smtplib.SMTP:
        # Not by smtplib, which knows one time for the connection and the greeting together.
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
        # RFC 5321, 4.1.3: who has no name that others can look up gives the address; a pod's
        # name is no such name.
        smtp = smtplib.SMTP(
            local_hostname=f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        )
        smtp.sock = connected
        return smtp

    def _greet(self, smtp: smtplib.SMTP) -> None:
        with self._errors(None):
            code, reply = smtp.getreply()
        if code != 220:
            raise self._refusal("the connection", code, reply)

    def _hello(self, smtp: smtplib.SMTP) -> None:
        self._step("EHLO", smtp.ehlo)

    def _start_tls(self, smtp: smtplib.SMTP, context: ssl.SSLContext) -> None:
        if not smtp.has_extn("starttls"):
            raise smtp_failures.no_starttls(str(self._server))
        with self._errors("STARTTLS"):
            code, _ = smtp.docmd("STARTTLS")
        if code != 220:
            raise smtp_failures.starttls_refused(str(self._server), code)
        with self._errors("STARTTLS"):
            if smtp.sock is None:
                raise smtplib.SMTPServerDisconnected
            smtp.sock = context.wrap_socket(smtp.sock, server_hostname=self._server.host)
            # What came in the clear after that answer, from whomever, is not read.
            smtp.file = None

    def _log_in(self, smtp: smtplib.SMTP, login: Login) -> None:
        offered = smtp.esmtp_features.get("auth", "").upper().split()
        if "PLAIN" in offered:
            # RFC 4616.
            plain = _base64(f"\0{login.username}\0{login.password}")
            self._step(LOGIN, lambda: smtp.docmd("AUTH", f"PLAIN {plain}"))
        elif "LOGIN" in offered:
            self._step(LOGIN, lambda: smtp.docmd("AUTH", "LOGIN"), expected=3)
            self._step(LOGIN, lambda: smtp.docmd(_base64(login.username)), expected=3)
            self._step(LOGIN, lambda: smtp.docmd(_base64(login.password)))
        else:
            raise smtp_failures.no_known_login(str(self._server))

    def _hand_over(self, smtp: smtplib.SMTP, check: Callable[[], None]) -> None:
        self._step("MAIL", lambda: smtp.mail(self._mail.sender))
        self._step("RCPT", lambda: smtp.rcpt(self._mail.recipient))
        check()
        _set_timeout(smtp, self._patience.data)
        self._step("DATA", lambda: smtp.docmd("DATA"), expected=3)
        _set_timeout(smtp, self._patience.mail)
        with self._errors("the mail"):
            _transfer(smtp, self._mail.content)
        self.is_sent = True
        self._step("the mail", smtp.getreply)

    def _step(self, name: str, command: Callable[[], tuple[int, bytes]], expected: int = 2) -> None:
        """One command; `expected` is the first digit of its answer."""
        with self._errors(name):
            code, reply = command()
        if code // 100 != expected:
            raise self._refusal(name, code, reply)

    @contextlib.contextmanager
    def _errors(self, step: str | None) -> Iterator[None]:
        try:
            yield
        except (OSError, smtplib.SMTPException) as error:
            # Not as its cause: smtplib's errors hold addresses, and a traceback tells them.
            server = str(self._server)
            if self.is_sent:
                raise smtp_failures.lost_answer(error, server) from None
            raise smtp_failures.of_error(error, server, step) from None

    def _refusal(self, step: str, code: int, reply: bytes | str) -> Failure:
        text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply
        return smtp_failures.of_reply(step, code, text, str(self._server), self._mail.recipient)


def _say_goodbye(smtp: smtplib.SMTP) -> None:
    """RFC 5321, 4.1.1.10, and no more than that: a mail is the server's before it, or isn't."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        if smtp.sock is not None:
            _set_timeout(smtp, _SECONDS_FOR_GOODBYE)
            smtp.quit()
    smtp.close()


def _set_timeout(smtp: smtplib.SMTP, seconds: float) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


def _transfer(smtp: smtplib.SMTP, content: bytes) -> None:
    # RFC 5321, 4.5.2.
    smtp.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
