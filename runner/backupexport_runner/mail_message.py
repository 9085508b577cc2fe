"""The mail about an export's end, as it goes over the wire; the same each time it is made."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from backupexport_contract import names, rules
from backupexport_contract.runner_protocol import ExportEnd

from backupexport_runner.failures import malformed_delivery
from backupexport_runner.mail_bodies import html_part, text_part
from backupexport_runner.mail_content import completion_time, content
from backupexport_runner.request import Request

_DISPLAY_NAME = "Database exports"
# Long addresses and ids are not to be folded into encoded words, which some readers don't undo;
# RFC 5322, 2.1.1 allows 998 characters.
_ON_THE_WIRE = SMTP.clone(max_line_length=998, cte_type="7bit")


def mail(request: Request, end: ExportEnd, sender: str) -> EmailMessage:
    """The mail, or RunnerFailure(BAD_REQUEST) where a value can't be in one."""
    sender, recipient = _address(sender, "from"), _address(end.notify_email, "notify_email")
    said = content(request, end)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = said.subject
    message["From"] = Address(_DISPLAY_NAME, addr_spec=sender)
    message["To"] = Address(addr_spec=recipient)
    # Of the export, not of the attempt, nor of settings that may change between two: a mail that
    # is sent twice is the same mail.
    message["Date"] = completion_time(end)
    message["Message-ID"] = f"<{request.job_id}@{names.GROUP}>"
    # RFC 3834; the second is what Exchange's automatic answers obey.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    # Quoted-printable needs no 8BITMIME of the server, and no line is too long.
    message.set_content(text_part(said), cte="quoted-printable")
    message.add_alternative(html_part(said), subtype="html", cte="quoted-printable")
    # Random unless given; `=_` is in no quoted-printable body.
    message.set_boundary(f"=_{request.job_id}")
    return message


def wire_bytes(message: EmailMessage) -> bytes:
    """The message in seven bits with CRLF."""
    return message.as_bytes(policy=_ON_THE_WIRE)


def _address(value: object, name: str) -> str:
    if not isinstance(value, str) or rules.first_broken(rules.EMAIL, value) is not None:
        # The value itself is not repeated: it may be anything.
        raise malformed_delivery(f"{name} is no e-mail address")
    return value
