"""What goes wrong with a mail server, as the runner's verdict: pure, and careful with its words.

Replies and errors may repeat the address and the login in any spelling; nothing of them gets
into a verdict.
"""

import re
import smtplib
import socket
import ssl

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure

_HIDDEN = "[hidden]"
_LONGEST_REPLY = 200
LOGIN = "AUTH"

_LOGIN_REFUSED = (530, 534, 535, 538)
_SERVICE_GONE = 421


def of_reply(step: str, code: int, reply: str, server: str, address: str) -> Failure:
    """The verdict on a reply that is none of success; `step` is the command it answers."""
    if code < 400:
        return Failure(
            ExitCode.CONNECTION_FAILED,
            f"What answers at {server} doesn't speak as a mail server does: check host, port and "
            "tls of deliveries.email.",
        )
    # A server that repeats a login in its own spelling can't be kept from it but by silence.
    said = f"{code} {_status(reply) if step == LOGIN else _public(reply, address)}".strip()
    if code == _SERVICE_GONE or code < 500:
        return Failure(
            ExitCode.DELIVERY_DEFERRED,
            f"The mail server {server} doesn't take the mail now and answers {step} with: {said}; "
            "it is tried again.",
        )
    if step == LOGIN:
        return Failure(
            ExitCode.AUTHENTICATION_FAILED,
            f"The mail server {server} refuses the login with: {said}; correct username and "
            "password in the Secret of deliveries.email.",
        )
    if code in _LOGIN_REFUSED:
        return Failure(
            ExitCode.AUTHENTICATION_FAILED,
            f"The mail server {server} wants a login and answers {step} with: {said}; set "
            "secretRef and tls of deliveries.email as it asks.",
        )
    return Failure(
        ExitCode.DELIVERY_REFUSED,
        f"The mail server {server} refuses the mail and answers {step} with: {said}; check "
        "notifyEmail, and what the server lets deliveries.email.from send.",
    )


def of_error(error: Exception, server: str, step: str | None) -> Failure:
    """The verdict on an error of the connection; `step` is the command it cut, None before any.

    The error's own text is not repeated where smtplib or the server wrote it.
    """
    cause = _cause(error)
    when = f"before it answered {step}" if step else "before it was ready"
    if isinstance(cause, ssl.SSLCertVerificationError):
        problem = (
            f"the certificate of {server} is not trusted ({cause.verify_message.rstrip('.')}): "
            "deliveries.email.host must be a name in it, and caCertificates must hold its "
            "authority where the system's don't"
        )
    elif isinstance(cause, ssl.SSLError):
        problem = (
            f"no TLS with {server} ({(cause.reason or 'broken off').replace('_', ' ').lower()}): "
            "check port and tls of deliveries.email"
        )
    elif isinstance(cause, socket.gaierror):
        problem = f"the name in {server} is not found: check deliveries.email.host and DNS"
    elif isinstance(cause, ConnectionRefusedError):
        problem = f"nothing listens at {server}: check host and port of deliveries.email"
    elif isinstance(cause, TimeoutError):
        problem = (
            f"{server} let the time run out {when}: check host, port and tls of deliveries.email, "
            "and that no network policy is in the way"
        )
    elif isinstance(cause, smtplib.SMTPException | ConnectionError):
        problem = f"{server} cut the connection {when}"
    elif isinstance(cause, OSError) and cause.strerror:
        problem = f"{server} can't be reached ({cause.strerror})"
    else:
        problem = f"the conversation with {server} broke off {when}"
    return _not_connected(problem)


def lost_answer(error: Exception, server: str) -> Failure:
    """The verdict on an error after the mail's last byte: nobody knows whether it was taken."""
    if isinstance(_cause(error), TimeoutError):
        return _may_be_sent(f"{server} let the time run out")
    return _may_be_sent(f"{server} cut the connection")


def answer_too_slow(server: str) -> Failure:
    """The verdict on a server whose answer to the mail has no end."""
    return _may_be_sent(f"{server} came to no end")


def no_starttls(server: str) -> Failure:
    """The verdict on a server that offers no STARTTLS, or someone between who takes it away."""
    return _not_connected(
        f"{server} offers no STARTTLS and nothing was sent: set tls of deliveries.email to what "
        "the server speaks, or find who removes the offer"
    )


def starttls_refused(server: str, code: int) -> Failure:
    """The verdict on a server that offers STARTTLS and then doesn't do it."""
    return _not_connected(f"{server} refuses STARTTLS with {code} and nothing was sent")


def no_known_login(server: str) -> Failure:
    """The verdict on a server that takes no name and password."""
    return Failure(
        ExitCode.AUTHENTICATION_FAILED,
        f"The mail server {server} offers neither AUTH PLAIN nor AUTH LOGIN: give it another way "
        "to log in, or take secretRef from deliveries.email where it needs none.",
    )


def too_slow(server: str, seconds: float) -> Failure:
    """The verdict on a server that always says something, and never the end."""
    return _not_connected(f"the conversation with {server} was not over in {seconds:g} seconds")


def _not_connected(problem: str) -> Failure:
    return Failure(ExitCode.CONNECTION_FAILED, f"No mail yet: {problem}; it is tried again.")


def _may_be_sent(problem: str) -> Failure:
    return Failure(
        ExitCode.DELIVERY_DEFERRED,
        f"The mail may have been sent: {problem} before it said whether it takes it; it is tried "
        "again, with the same Message-ID.",
    )


def _cause(error: BaseException) -> BaseException:
    """What smtplib's own error stands for."""
    context = error.__cause__ or error.__context__
    if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(context, OSError):
        return context
    return error


def _status(reply: str) -> str:
    """RFC 2034's code at the reply's begin."""
    found = re.match(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])", reply)
    return found[0] if found else ""


def _public(reply: str, address: str) -> str:
    """One line of printable ASCII without the address or any other."""
    line = " ".join(re.sub(r"[^\x20-\x7e]", " ", reply).split())
    line = re.sub(r"[^\s<>(),;:\"]+@[^\s<>(),;:\"]+", _HIDDEN, line)
    mailbox = re.escape(address.partition("@")[0])
    line = re.sub(rf"(?<!\w){mailbox}(?!\w)", _HIDDEN, line, flags=re.IGNORECASE)
    return line if len(line) <= _LONGEST_REPLY else line[:_LONGEST_REPLY] + "..."
