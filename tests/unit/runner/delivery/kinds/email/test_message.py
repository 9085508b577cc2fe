"""What the mail says and how it is built, hostile values included."""

import shlex
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest
from backupexport_contract import rules
from backupexport_contract.reasons import ExitCode
from backupexport_contract.restore_commands import CAUTION, DECRYPTION
from backupexport_contract.runner_protocol import ExportEnd, Remark
from backupexport_runner.delivery.kinds.email.content import Content, content
from backupexport_runner.delivery.kinds.email.message import (
    mail_message,
    rendered,
    wire_bytes,
)
from backupexport_runner.task.failure import Failure
from hypothesis import given
from hypothesis import strategies as st
from mails import ADDRESS, API, SENDER, artifact_of, end_of, request_of
from runner_bench import JOB_ID

PHASES = ("Succeeded", "Failed", "Cancelled")
FILE = f"20260129T153000Z-{JOB_ID}"
HOSTILE = (
    '<script>alert(1)</script><img src="https://evil.example/x.png">&amp;"\'\r\nBcc: x@evil.example'
)


class Page(HTMLParser):
    """The words of a page, and what is in it besides."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def received(end: ExportEnd, sender: str = SENDER, **request: str) -> EmailMessage:
    """The mail as a reader's program parses it."""
    sent = wire_bytes(mail_message(request_of(**request), end, sender))
    parsed = message_from_bytes(sent, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    text: str = body.get_content()
    return text


def words_of(page: str) -> str:
    return " ".join(" ".join(Page(page).words).split())


@pytest.mark.parametrize(
    ("phase", "subject"),
    [
        ("Succeeded", "Export of --help is ready"),
        ("Failed", "Export of --help failed"),
        ("Cancelled", "Export of --help was cancelled"),
    ],
)
def test_headers(phase: str, subject: str) -> None:
    message = received(end_of(phase))
    assert dict(message.items()) == {
        "Subject": subject,
        "From": f"Database exports <{SENDER}>",
        "To": ADDRESS,
        "Date": "Thu, 29 Jan 2026 15:31:16 +0000",
        "Message-ID": f"<{JOB_ID}@backupexport.dev>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/alternative; boundary="=_{JOB_ID}"',
    }
    kinds = [(each.get_content_type(), each.get_content_charset()) for each in message.iter_parts()]
    assert kinds == [("text/plain", "utf-8"), ("text/html", "utf-8")]


@pytest.mark.parametrize("phase", PHASES)
def test_seven_bits_short_lines_and_the_same_again(phase: str) -> None:
    end = end_of(phase, requested_by="Zoë 日本", message="Zoë: 日本 " + "long " * 900)
    sent = [wire_bytes(mail_message(request_of(), end, SENDER)) for _ in range(2)]
    assert sent[0] == sent[1]
    assert sent[0].isascii()
    assert b"\0" not in sent[0]
    assert all(len(line) < 999 for line in sent[0].split(b"\r\n"))
    assert b"\n" not in sent[0].replace(b"\r\n", b"")
    assert b"\r" not in sent[0].replace(b"\r\n", b"")
    assert "Zoë 日本" in part(received(end), "plain")


@pytest.mark.parametrize("phase", PHASES)
def test_both_parts_say_the_same(phase: str) -> None:
    said = content(request_of(), end_of(phase))
    message = received(end_of(phase))
    plain, page = part(message, "plain"), words_of(part(message, "html"))
    texts = [said.summary, said.footer]
    for fact in said.facts:
        texts += [fact.label, fact.value]
    for step in said.steps:
        texts += [step.text, *step.commands, *([step.link] if step.link else [])]
    for text in texts:
        assert " ".join(text.split()) in " ".join(plain.split())
        assert " ".join(text.split()) in page
    for title in [said.headline, *(step.title for step in said.steps)]:
        assert title.upper() in plain
        assert title in page
    assert f"<title>{said.subject}</title>" in part(message, "html")


@pytest.mark.parametrize(
    ("phase", "headline", "tone"),
    [
        ("Succeeded", "The export is ready", "good"),
        ("Failed", "The export failed", "bad"),
        ("Cancelled", "The export was cancelled", "neutral"),
    ],
)
def test_headline_and_tone(phase: str, headline: str, tone: str) -> None:
    said = content(request_of(), end_of(phase))
    assert (said.headline, said.tone) == (headline, tone)


def facts_of(said: Content) -> dict[str, str]:
    assert len({fact.label for fact in said.facts}) == len(said.facts)
    return {fact.label: fact.value for fact in said.facts}


def test_facts_of_a_success() -> None:
    said = content(request_of(), end_of())
    assert facts_of(said) == {
        "Project": "--help",
        "Size": "164.2 MiB (172,179,456 bytes)",
        "Uncompressed": "858.3 MiB (900,000,000 bytes)",
        "Duration": "1 min 15 s",
        "Ended": "2026-01-29 15:31:16 UTC",
        "Format": "sql",
        "Compression": "zstd",
        "SHA-256": "0a" * 32,
        "PostgreSQL server": "17.6",
        "pg_dump": "17.5",
        "Path on the volume": f"--help/{FILE}.sql.zst",
        "Job": JOB_ID,
        "Requested by": "user-7",
    }
    chosen = content(request_of(), end_of(contents="Rows only; not tables a\n, b"))
    assert facts_of(chosen)["Contents"] == "Rows only; not tables a , b"
    assert said.summary == (
        "The file is kept until 2026-02-05 15:31:16 UTC; after that nobody can fetch it."
    )
    assert [step.title for step in said.steps] == ["Fetch it", "Check it", "Restore it"]
    assert content(request_of(), end_of(expires_at=None)).summary == (
        "The file has no date of removal."
    )


@pytest.mark.parametrize(
    ("phase", "facts"),
    [
        ("Failed", {
            "Reason": "Authentication failed",
            "Message": "The server refuses the password: correct it.",
        }),
        ("Cancelled", {"Message": "The server refuses the password: correct it."}),
    ],
)  # fmt: skip
def test_facts_of_another_end(phase: str, facts: dict[str, str]) -> None:
    said = content(request_of(), end_of(phase))
    assert facts_of(said) == {
        "Project": "--help",
        **facts,
        "Duration": "1 min 15 s",
        "Ended": "2026-01-29 15:31:16 UTC",
        "Format": "sql",
        "Compression": "zstd",
        "Job": JOB_ID,
        "Requested by": "user-7",
    }
    assert [step.title for step in said.steps] == ["What to do"]
    assert said.steps[0].link == f"{API}/#/jobs/{JOB_ID}"
    bare = content(
        request_of(),
        end_of(phase, message=None, reason=None, started_at=None, requested_by=None, api_url=None),
    )
    assert {"Message", "Duration", "Requested by"}.isdisjoint(facts_of(bare))
    assert bare.steps[0].link is None
    assert bare.steps[0].text.endswith("start a new export as you started this one.")


@pytest.mark.parametrize(
    ("api_url", "has_downloads", "words", "commands", "link"),
    [
        (API, True, "with this command", (
            f'curl --fail -L -C - -o {FILE}.sql.zst -H "Authorization: Bearer $TOKEN" '
            f"{API}/api/jobs/{JOB_ID}/download",
        ), f"{API}/#/jobs/{JOB_ID}"),
        (f"{API}/below/", True, "with this command", (
            f'curl --fail -L -C - -o {FILE}.sql.zst -H "Authorization: Bearer $TOKEN" '
            f"{API}/below/api/jobs/{JOB_ID}/download",
        ), f"{API}/below/#/jobs/{JOB_ID}"),
        (None, True, "this path of the API", (f"/api/jobs/{JOB_ID}/download",), None),
        (API, False, "Ask whoever runs the cluster", (f"--help/{FILE}.sql.zst",), None),
        (None, False, "Ask whoever runs the cluster", (f"--help/{FILE}.sql.zst",), None),
    ],
)  # fmt: skip
def test_how_to_fetch(
    api_url: str | None,
    has_downloads: bool,
    words: str,
    commands: tuple[str, ...],
    link: str | None,
) -> None:
    end = end_of(api_url=api_url, has_downloads=has_downloads)
    fetch = content(request_of(), end).steps[0]
    assert words in fetch.text
    assert (fetch.commands, fetch.link) == (commands, link)


@pytest.mark.parametrize("is_smaller", [True, False])
def test_how_to_check_and_restore(is_smaller: bool) -> None:
    request = request_of()
    artifact = artifact_of(request)
    if not is_smaller:
        artifact = replace(artifact, uncompressed_bytes=artifact.size_bytes)
    said = content(request, end_of(artifact=artifact, restore_command="psql -f x"))
    check, restore = said.steps[1:]
    assert restore.commands == ("psql -f x",)
    assert CAUTION in restore.text
    name = request.file_name
    assert check.commands == (f"echo '{'0a' * 32}  {name}' | sha256sum --check",)
    assert ("Uncompressed" in facts_of(said)) == is_smaller


def test_an_encrypted_file_says_to_whom_and_how_it_is_read() -> None:
    end = end_of("Succeeded")
    assert end.artifact is not None
    told = replace(end.artifact, encrypted_to=("SHA256:a", "SHA256:b"))
    said = content(request_of(), replace(end, artifact=told))
    assert facts_of(said)["Encrypted to"] == "SHA256:a, SHA256:b"
    assert DECRYPTION in said.steps[-1].text
    plain = content(request_of(), end)
    assert "Encrypted to" not in facts_of(plain)
    assert DECRYPTION not in plain.steps[-1].text


def test_warnings_and_hints_are_told() -> None:
    artifact = replace(
        artifact_of(request_of()),
        restore_with="psql of PostgreSQL 17 or newer",
        warnings=(Remark("objects_left_out", "Without\nsubscriptions: a."),),
        restore_hints=(Remark("missing_roles", "It wants the role b."),),
    )
    said = content(request_of(), end_of(artifact=artifact))
    assert facts_of(said)["Restore with"] == "psql of PostgreSQL 17 or newer"
    assert said.steps[0].points == ("Without subscriptions: a.",)
    assert said.steps[-1].points == ("It wants the role b.",)
    message = received(end_of(artifact=artifact))
    for kind in ("plain", "html"):
        assert "Without subscriptions: a." in part(message, kind)
        assert "It wants the role b." in part(message, kind)


@pytest.mark.parametrize("phase", PHASES)
def test_hostile_values(phase: str) -> None:
    hostile: dict[str, Any] = {"message": HOSTILE, "requested_by": HOSTILE, "reason": HOSTILE}
    request = request_of()
    if phase == "Succeeded":
        hostile["artifact"] = replace(
            artifact_of(request),
            path=HOSTILE,
            sha256=HOSTILE,
            server_version=HOSTILE,
            restore_with=HOSTILE,
            warnings=(Remark(HOSTILE, HOSTILE),),
            restore_hints=(Remark(HOSTILE, HOSTILE),),
        )
    hostile["api_url"] = "https://exports.example.com/" + HOSTILE
    end = end_of(phase, **hostile)
    message = received(end)
    assert set(message.keys()) == set(received(end_of()).keys())
    page = Page(part(message, "html"))
    allowed = {"html", "head", "meta", "title", "style", "body", "div", "h1", "h2", "p", "table",
               "tr", "td", "pre", "a"}  # fmt: skip
    assert {tag for tag, _ in page.tags} <= allowed
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name == "src"}
        if tag == "a":
            assert str(attributes["href"]).startswith(f"{API}/")
    assert "url(" not in part(message, "html")
    usual_end = end_of(phase)
    if usual_end.artifact:
        remarks = (Remark("a", "b"),)
        known = replace(usual_end.artifact, warnings=remarks, restore_hints=remarks)
        usual_end = replace(usual_end, artifact=known)
    harmless = content(request, usual_end)
    for step, usual in zip(content(request, end).steps, harmless.steps, strict=True):
        assert list(map(operators, step.commands)) == list(map(operators, usual.commands))


def operators(command: str) -> list[str]:
    """What a shell takes for its own among a command's words."""
    words = shlex.shlex(command, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return [word for word in words if set(word) <= set("();<>|&")]


def test_a_page_that_is_none() -> None:
    for url in ("javascript:alert(1)", "data:text/html,x"):
        assert content(request_of(), end_of("Failed", api_url=url)).steps[0].link is None
        assert "<a " not in rendered(
            content(request_of(), end_of("Failed", api_url=url)), "mail.html"
        )


@pytest.mark.parametrize(
    "address",
    [None, "", 7, "a@b.example\r\nBcc: x@evil.example", "a@b.example,c@d.example", "a@b",
     "x <a@b.example>", "-f@b.example", "é@b.example", "a@b.example\n", f"{'a' * 250}@b.example"],
)  # fmt: skip
def test_an_address_that_is_none(address: Any) -> None:
    for recipient, sender in ((address, SENDER), (ADDRESS, address)):
        with pytest.raises(Failure) as caught:
            mail_message(request_of(), end_of(notify_email=recipient), sender)
        assert caught.value.exit_code == ExitCode.BAD_REQUEST
        assert "example" not in caught.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"phase": "Running"},
        {"phase": None},
        {"artifact": None},
        {"completed_at": None},
        {"completed_at": "yesterday"},
        {"completed_at": 7},
        {"message": ["x"]},
        {"api_url": 7},
    ],
)
def test_an_end_that_is_none(values: dict[str, Any]) -> None:
    with pytest.raises(Failure) as caught:
        mail_message(request_of(), replace(end_of(), **values), SENDER)
    assert caught.value.exit_code == ExitCode.BAD_REQUEST


def test_the_longest_names() -> None:
    local, domain = "a" * 64, ".".join(["d" * 61] * 3)
    address = f"{local}@{domain[:180]}.example"
    project = "p" * 100
    request = {"EXPORT_PROJECT_ID": project}
    message = received(end_of(notify_email=address), sender=address, **request)
    assert (message["To"], message["Subject"]) == (address, f"Export of {project} is ready")
    assert message["From"].addresses[0].addr_spec == address
    assert b"=?utf-8?" not in wire_bytes(
        mail_message(request_of(**request), end_of(notify_email=address), address)
    )


# What `email` takes for an encoded word, a route, a comment or a list, in pieces.
_PIECES = ["=?utf-8?q?x?=", "=?utf-8?b?eA==?=", "=?", "?=", "=", "?", "_", ".", "a", "!", "%", "{"]


@given(
    address=st.one_of(
        st.lists(st.sampled_from(_PIECES)).map(lambda pieces: f"{''.join(pieces)}@example.com"),
        st.from_regex(rules.EMAIL[1].pattern, fullmatch=True),
    ).filter(lambda address: rules.first_broken(rules.EMAIL, address) is None)
)
def test_every_address_that_the_rules_allow_can_be_in_a_mail(address: str) -> None:
    message = received(end_of(notify_email=address), sender=address)
    assert message["To"].addresses[0].addr_spec == address
    assert message["From"].addresses[0].addr_spec == address


def test_commands_stay_on_one_line() -> None:
    said = content(request_of(EXPORT_PROJECT_ID="p" * 100), end_of())
    lines = rendered(said, "mail.txt").split("\n")
    for step in said.steps:
        assert {f"    {command}" for command in step.commands} <= set(lines)
    prose = [line for line in lines if not line.startswith("    ") and ":  " not in line]
    assert max(map(len, prose)) <= 130
