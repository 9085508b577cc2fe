"""A mail about the export's end, to the address that the export names."""

from backupexport_contract.reasons import ExitCode

from backupexport_runner.delivery.kinds.email.message import mail_message, wire_bytes
from backupexport_runner.delivery.kinds.email.smtp import Mail, MailServer, Patience, send
from backupexport_runner.delivery.parcel import Parcel
from backupexport_runner.task.failure import Failure, malformed_delivery

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_PATIENCE = Patience()


def deliver(parcel: Parcel) -> str:
    """Hands the mail to the server; a second attempt sends the same mail."""
    server = mail_server(parcel)
    sender = str(parcel.settings.get("from", ""))
    try:
        content = wire_bytes(mail_message(parcel.request, parcel.end, sender))
    except Failure:
        raise
    except Exception as error:  # noqa: BLE001 - `email` raises whatever it runs into
        # The next attempt would fail, too.  The error's words and a traceback would repeat the
        # values.
        raise malformed_delivery(f"no mail can be made of it ({type(error).__name__})") from None
    recipient = parcel.end.notify_email or ""
    send(Mail(sender, recipient, content), server, parcel.check, _PATIENCE)
    return f"The mail server {server} took the mail."


def mail_server(parcel: Parcel) -> MailServer:
    """Returns the settings' server.  Raises Failure(BAD_REQUEST or SECRET_INVALID)."""
    settings = parcel.settings
    tls = settings.get("tls", "starttls")
    # An unknown value must not mean no TLS.
    if not isinstance(tls, str) or tls not in _PORTS:
        raise _bad(f"tls must be one of {', '.join(_PORTS)}")
    host, port = settings.get("host"), settings.get("port") or _PORTS[tls]
    if not isinstance(host, str) or not host or type(port) is not int:
        raise _bad("host, port and tls must say where the mail server is")
    # A Secret that lacks a key, or is empty, is a mistake, and doesn't mean no login.
    login = None
    if settings.get("secretRef"):
        login = (parcel.credential("username"), parcel.credential("password"))
    if login is not None and tls == "none":
        raise _bad("a login needs tls: starttls or tls")
    return MailServer(host, port, tls, settings.get("caCertificates"), login)


def _bad(problem: str) -> Failure:
    return Failure(
        ExitCode.BAD_REQUEST,
        f"The settings deliveries.email are not as the operator checks them: {problem}.",
    )
