"""The mail's two parts, plain text and HTML: the same content, word for word."""

import textwrap
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

from backupexport_contract import names, rules
from backupexport_contract.runner_protocol import ExportEnd

from backupexport_runner.delivery.kinds.email.content import (
    Content,
    Fact,
    Step,
    Tone,
    completion_time,
    content,
)
from backupexport_runner.task.failure import malformed_delivery
from backupexport_runner.task.request import Request

_WIDTH = 76

# Colours that have contrast on white and, the second of each pair, on near black.
_ACCENT = {
    Tone.GOOD: ("#1a7f37", "#4ac26b"),
    Tone.BAD: ("#cf222e", "#ff8182"),
    Tone.NEUTRAL: ("#57606a", "#9ea7b3"),
}

# Inline where a mail program drops <style>; here only what it can't say: dark, and narrow.
_STYLE = """
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (prefers-color-scheme: dark) {
  .page { background: #0d1117 !important; }
  .card { background: #161b22 !important; border-color: #30363d !important; }
  .card, .card td, .card p, .card h2 { color: #e6edf3 !important; }
  .card td.label, .card p.footer { color: #9ea7b3 !important; }
  .card td { border-color: #30363d !important; }
  .card pre { background: #0d1117 !important; color: #e6edf3 !important;
    border-color: #30363d !important; }
  .card a { color: #58a6ff !important; }
  .card h1 { color: DARK_ACCENT !important; }
}
@media (max-width: 480px) {
  .page { padding: 0 !important; }
  .card { padding: 20px 16px !important; border: 0 !important; border-radius: 0 !important; }
  td.label, td.value { display: block !important; width: auto !important; }
  td.label { padding-bottom: 0 !important; }
  td.value { padding-top: 0 !important; border: 0 !important; }
}
"""
_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_MONOSPACE = "font-family:ui-monospace,SFMono-Regular,Consolas,Menlo,monospace"
# A project id of a hundred letters has no space to break at.
_BREAKS = "overflow-wrap:anywhere;word-break:break-word"


def text_part(content: Content) -> str:
    """Plain text; values and commands are never broken, so that they can be copied."""
    width = max(len(fact.label) for fact in content.facts) + 2
    facts = [f"{fact.label + ':':<{width}}{fact.value}" for fact in content.facts]
    blocks = [
        content.headline.upper(),
        textwrap.fill(content.summary, _WIDTH, break_long_words=False, break_on_hyphens=False),
        "\n".join(facts),
        *map(_text_step, content.steps),
        "-- \n"
        + textwrap.fill(content.footer, _WIDTH, break_long_words=False, break_on_hyphens=False),
    ]
    return "\n\n".join(blocks) + "\n"


def _text_step(step: Step) -> str:
    words = textwrap.fill(step.text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    to_copy = ([step.link] if step.link else []) + list(step.commands)
    return f"{step.title.upper()}\n{words}" + "".join(f"\n\n    {line}" for line in to_copy)


def html_part(content: Content) -> str:
    """One page that needs nothing else: no script, no picture, nothing from elsewhere."""
    light, dark = _ACCENT[content.tone]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="format-detection" content="telephone=no, date=no, address=no, email=no">
<title>{escape(content.subject)}</title>
<style>{_STYLE.replace("DARK_ACCENT", dark)}</style>
</head>
<body class="page" style="margin:0;padding:24px 12px;background:#f6f8fa;{_FONT}">
<div class="card" style="max-width:640px;margin:0 auto;padding:28px 32px;box-sizing:border-box;\
background:#ffffff;border:1px solid #d0d7de;border-radius:8px;color:#1f2328;font-size:15px;\
line-height:1.5;{_BREAKS}">
<h1 style="margin:0 0 8px;font-size:22px;line-height:1.3;color:{light}">\
{escape(content.headline)}</h1>
<p style="margin:0 0 16px">{escape(content.summary)}</p>
<table role="presentation" cellpadding="0" cellspacing="0" \
style="width:100%;border-collapse:collapse;font-size:14px;line-height:1.45">
{"".join(map(_html_fact, content.facts))}</table>
{"".join(map(_html_step, content.steps))}\
<p class="footer" style="margin:28px 0 0;font-size:12px;color:#57606a">\
{escape(content.footer)}</p>
</div>
</body>
</html>
"""


def _html_fact(fact: Fact) -> str:
    font = f";{_MONOSPACE};font-size:13px" if fact.is_code else ""
    cell = "vertical-align:top;padding:6px 0;border-top:1px solid #eaeef2"
    return (
        f'<tr><td class="label" style="width:150px;{cell};color:#57606a">{escape(fact.label)}</td>'
        f'<td class="value" style="{cell};{_BREAKS}{font}">{escape(fact.value)}</td></tr>\n'
    )


def _html_step(step: Step) -> str:
    commands = "".join(
        f'<pre style="margin:8px 0 0;padding:10px 12px;background:#f6f8fa;border:1px solid #d0d7de;'
        f"border-radius:6px;{_MONOSPACE};font-size:13px;line-height:1.45;white-space:pre-wrap;"
        f'{_BREAKS}">{escape(command)}</pre>\n'
        for command in step.commands
    )
    link = (
        f'<p style="margin:4px 0 0"><a href="{escape(step.link)}">{escape(step.link)}</a></p>\n'
        if step.link
        else ""
    )
    return (
        f'<h2 style="margin:24px 0 4px;font-size:16px">{escape(step.title)}</h2>\n'
        f'<p style="margin:0">{escape(step.text)}</p>\n{link}{commands}'
    )


_DISPLAY_NAME = "Database exports"
# Long addresses and ids are not to be folded into encoded words, which some readers don't undo;
# RFC 5322, 2.1.1 allows 998 characters.
_ON_THE_WIRE = SMTP.clone(max_line_length=998, cte_type="7bit")


def mail_message(request: Request, end: ExportEnd, sender: str) -> EmailMessage:
    """The mail, or Failure(BAD_REQUEST) where a value can't be in one."""
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
