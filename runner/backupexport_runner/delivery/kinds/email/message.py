"""The mail as a message: its headers, and one content as plain text and as HTML.

Both parts are templates in this directory.  The page needs nothing else: no script, no picture.
"""

from dataclasses import asdict
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from backupexport_contract import names, rules
from backupexport_contract.runner_protocol import ExportEnd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from backupexport_runner.delivery.kinds.email.content import Content, completion_time, content
from backupexport_runner.task.failure import malformed_delivery
from backupexport_runner.task.request import Request

_DISPLAY_NAME = "Database exports"
# Long addresses and ids are not to be folded into encoded words, which some readers don't undo;
# RFC 5322, 2.1.1 allows 998 characters.
_ON_THE_WIRE = SMTP.clone(max_line_length=998, cte_type="7bit")
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


def mail_message(request: Request, end: ExportEnd, sender: str) -> EmailMessage:
    """Returns the mail.  Raises Failure(BAD_REQUEST) if a value can't be in one."""
    sender, recipient = _address(sender, "from"), _address(end.notify_email, "notify_email")
    said = content(request, end)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = said.subject
    message["From"] = Address(_DISPLAY_NAME, addr_spec=sender)
    message["To"] = Address(addr_spec=recipient)
    # Both follow from the export alone, not from the attempt or from settings that may change: a
    # mail that is sent twice is the same mail.
    message["Date"] = completion_time(end)
    message["Message-ID"] = f"<{request.job_id}@{names.GROUP}>"
    # RFC 3834; the second is what Exchange's automatic answers obey.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    # Quoted-printable needs no 8BITMIME of the server, and no line is too long.
    message.set_content(rendered(said, "mail.txt"), cte="quoted-printable")
    message.add_alternative(rendered(said, "mail.html"), subtype="html", cte="quoted-printable")
    # Random unless given; `=_` is in no quoted-printable body.
    message.set_boundary(f"=_{request.job_id}")
    return message


def rendered(content: Content, template: str) -> str:
    """Returns the content in one of the templates `mail.txt` and `mail.html`."""
    return _TEMPLATES.get_template(template).render(asdict(content))


def wire_bytes(message: EmailMessage) -> bytes:
    """Returns the message in seven bits with CRLF."""
    return message.as_bytes(policy=_ON_THE_WIRE)


def _address(value: object, name: str) -> str:
    if not isinstance(value, str) or rules.first_broken(rules.EMAIL, value) is not None:
        # The value is not repeated: it is private, and may be anything.
        raise malformed_delivery(f"{name} is no e-mail address")
    return value
