"""One conversation with a mail server: each step has a deadline and a verdict.

smtplib's own `sendmail` and `login` are not used: they try the login in ways that need no
password to be safe, can't take one beyond ASCII, and raise errors with addresses in them.
"""

import contextlib
import queue
import re
import smtplib
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backupexport_runner import smtp_verdicts
from backupexport_runner.failures import RunnerFailure
from backupexport_runner.smtp_verdicts import LOGIN
from backupexport_runner.tls import tls_context

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
class Envelope:
    """One mail with its addresses."""

    sender: str
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a connection, for an answer, for the answer to the mail, for everything."""

    connect: float = 30
    answer: float = 30
    mail: float = 80
    whole: float = 110


def send(
    envelope: Envelope, server: MailServer, check: Callable[[], None], patience: Patience
) -> None:
    """Hand the mail over, or RunnerFailure; `check` raises where the process has to stop.

    In a thread of its own, because neither a name's look-up nor a server that sends a byte now
    and then can be bounded in any other way.  It ends with the process.
    """
    ended: queue.SimpleQueue[RunnerFailure | Exception | None] = queue.SimpleQueue()

    def converse() -> None:
        try:
            _Conversation(envelope, server, patience).run(check)
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=converse, name="mail", daemon=True).start()
    try:
        problem = ended.get(timeout=patience.whole)
    except queue.Empty:
        raise smtp_verdicts.too_slow(str(server), patience.whole) from None
    if problem is not None:
        raise problem


class _Conversation:
    def __init__(self, envelope: Envelope, server: MailServer, patience: Patience) -> None:
        self._envelope, self._server, self._patience = envelope, server, patience

    def run(self, check: Callable[[], None]) -> None:
        context = tls_context(self._server.ca_certificates)
        check()
        with self._errors(None):
            smtp = self._connect(context)
        try:
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
        server, seconds = self._server, self._patience.connect
        try:
            # A name of its own, or smtplib asks DNS for one.
            if server.tls == "tls":
                smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                    server.host, server.port, "localhost", timeout=seconds, context=context
                )
            else:
                smtp = smtplib.SMTP(server.host, server.port, "localhost", timeout=seconds)
        except smtplib.SMTPConnectError as error:
            raise self._refusal("the connection", error.smtp_code, error.smtp_error) from None
        connected = smtp.sock
        if connected is None:
            raise smtplib.SMTPServerDisconnected
        connected.settimeout(self._patience.answer)
        # RFC 5321, 4.1.3: who has no name that others can look up gives the address; a pod's
        # name is no such name.
        address: str = connected.getsockname()[0].partition("%")[0]
        smtp.local_hostname = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        return smtp

    def _hello(self, smtp: smtplib.SMTP) -> None:
        self._step("EHLO", smtp.ehlo)

    def _start_tls(self, smtp: smtplib.SMTP, context: ssl.SSLContext) -> None:
        if not smtp.has_extn("starttls"):
            raise smtp_verdicts.no_starttls(str(self._server))
        with self._errors("STARTTLS"):
            try:
                code, _ = smtp.starttls(context=context)
            except smtplib.SMTPResponseException as error:
                code = error.smtp_code
        if code != 220:
            raise smtp_verdicts.starttls_refused(str(self._server), code)

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
            raise smtp_verdicts.no_known_login(str(self._server))

    def _hand_over(self, smtp: smtplib.SMTP, check: Callable[[], None]) -> None:
        self._step("MAIL", lambda: smtp.mail(self._envelope.sender))
        self._step("RCPT", lambda: smtp.rcpt(self._envelope.recipient))
        if smtp.sock is not None:
            smtp.sock.settimeout(self._patience.mail)
        check()
        self._step("DATA", lambda: smtp.docmd("DATA"), expected=3)
        self._step("the mail", lambda: _transfer(smtp, self._envelope.content))

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
            raise smtp_verdicts.of_error(error, str(self._server), step) from None

    def _refusal(self, step: str, code: int, reply: bytes | str) -> RunnerFailure:
        text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply
        return smtp_verdicts.of_reply(step, code, text, str(self._server), self._envelope.recipient)


def _say_goodbye(smtp: smtplib.SMTP) -> None:
    """RFC 5321, 4.1.1.10, and no more than that: a mail is the server's before it, or isn't."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        if smtp.sock is not None:
            smtp.sock.settimeout(_SECONDS_FOR_GOODBYE)
            smtp.quit()
    smtp.close()


def _transfer(smtp: smtplib.SMTP, content: bytes) -> tuple[int, bytes]:
    # RFC 5321, 4.5.2.
    smtp.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
    return smtp.getreply()


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
