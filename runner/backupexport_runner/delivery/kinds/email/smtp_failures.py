"""What goes wrong with a mail server, as a failure: pure.

Replies and errors may repeat the address and the login in any spelling, so a failure repeats
nothing of them but what is made sure to hold neither.
"""

import re
import smtplib
import socket
import ssl

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import HIDDEN

LOGIN = "AUTH"

_LONGEST_REPLY = 200
_LOGIN_WANTED = (530, 534, 535, 538)

# What an error of the conversation means, in order: the first that applies.
_CAUSES_OF_ERROR: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "the certificate of {server} is not trusted ({why}): deliveries.email.host must be a name "
        "in it, and caCertificates must hold its authority where the system's don't",
    ),
    # Client and server don't agree on TLS, or the server speaks none.
    (ssl.SSLError, "no TLS with {server} ({why}): check port and tls of deliveries.email"),
    (socket.gaierror, "the name in {server} is not found: check deliveries.email.host and DNS"),
    (
        ConnectionRefusedError,
        "nothing listens at {server}: check host and port of deliveries.email",
    ),
    # The host is silent, or packets are dropped on the way.
    (
        TimeoutError,
        "{server} let the time run out {when}: check host, port and tls of deliveries.email, and "
        "that no network policy is in the way",
    ),
    ((smtplib.SMTPException, ConnectionError), "{server} cut the connection {when}"),
)
_OTHER_ERROR = "{server} can't be reached ({why})"
_WORDLESS_ERROR = "the conversation with {server} broke off {when}"


def of_reply(step: str, code: int, reply: str, server: str, address: str) -> Failure:
    """Returns the failure for a reply other than success; `step` is the command it answers."""
    # A server may repeat the login in a spelling of its own, so only silence hides that.
    said = f"{code} {_status(reply) if step == LOGIN else _public(reply, address)}".strip()
    if code < 400:
        # A mail server that refuses says so with 4xx or 5xx: this is another program.
        return Failure(
            ExitCode.CONNECTION_FAILED,
            f"What answers at {server} doesn't speak as a mail server does: check host, port and "
            "tls of deliveries.email.",
        )
    if code < 500:
        # It may take the mail later, also after 421, with which it ends the conversation.
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
    if code in _LOGIN_WANTED:
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
    """Returns the failure for an error that cut `step`, None before any."""
    cause = _cause(error)
    when = f"before it answered {step}" if step else "before it was ready"
    why = _why(cause)
    found = (problem for kinds, problem in _CAUSES_OF_ERROR if isinstance(cause, kinds))
    other = _OTHER_ERROR if why else _WORDLESS_ERROR
    return not_sent(next(found, other).format(server=server, when=when, why=why))


def lost_answer(error: Exception, server: str) -> Failure:
    """Returns the failure for an error after the mail's last byte."""
    is_timeout = isinstance(_cause(error), TimeoutError)
    return maybe_sent(f"{server} {'let the time run out' if is_timeout else 'cut the connection'}")


def not_sent(problem: str) -> Failure:
    """Returns the failure of a conversation that ended before the mail."""
    return Failure(ExitCode.CONNECTION_FAILED, f"No mail yet: {problem}; it is tried again.")


def maybe_sent(problem: str) -> Failure:
    """Returns the failure of a conversation that ended between the mail and its answer."""
    return Failure(
        ExitCode.DELIVERY_DEFERRED,
        f"The mail may have been sent: {problem} before it said whether it takes it; it is tried "
        "again, with the same Message-ID.",
    )


def _cause(error: BaseException) -> BaseException:
    """Returns the system's error that smtplib has turned into one of its own."""
    context = error.__cause__ or error.__context__
    if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(context, OSError):
        return context
    return error


def _why(error: BaseException) -> str:
    """Returns the words of OpenSSL or of the system; those of smtplib or of the server are none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    if isinstance(error, ssl.SSLError):
        return (error.reason or "broken off").replace("_", " ").lower()
    return str(getattr(error, "strerror", None) or "")


def _status(reply: str) -> str:
    """Returns RFC 2034's code, for example 5.7.8, at the reply's begin."""
    found = re.match(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])", reply)
    return found[0] if found else ""


def _public(reply: str, address: str) -> str:
    """Returns the reply as one line of printable ASCII, without the address or any other."""
    line = " ".join(re.sub(r"[^\x20-\x7e]", " ", reply).split())
    line = re.sub(r"[^\s<>(),;:\"]+@[^\s<>(),;:\"]+", HIDDEN, line)
    mailbox = re.escape(address.partition("@")[0])
    line = re.sub(rf"(?<!\w){mailbox}(?!\w)", HIDDEN, line, flags=re.IGNORECASE)
    return line if len(line) <= _LONGEST_REPLY else line[:_LONGEST_REPLY] + "..."
