"""The audit trail: what is a line of it, what is none, and what stands in it."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from backupexport_api.audit import trail
from backupexport_api.audit.record import LONGEST_TEXT, AuditRecord
from backupexport_api.downloads.opened_file import StorageUnavailableError
from backupexport_api.downloads.volume import ExportFile
from backupexport_api.kube.errors import StoreUnavailableError
from backupexport_runtime import logs
from exported_files import CONTENT, JOB_ID, Exported, another_id
from token_issuers import Issuer

Make = Callable[..., Any]
Client = httpx.AsyncClient

LINKS = {"LINK_SECRET": "the-secret-of-links-" + "x" * 32}


class Lines(logging.Handler):
    """All lines of the trail."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def taken(self) -> list[dict[str, Any]]:
        """Those since the last time, without what doesn't apply."""
        taken = [json.loads(text) for text in self.texts]
        self.texts.clear()
        return [
            {name: value for name, value in line.items() if value is not None} for line in taken
        ]


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    logger = logging.getLogger("backupexport.audit")
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)


@pytest.fixture
async def client(make_client: Make, tmp_path: Path) -> Any:
    async with make_client(EXPORTS_DIRECTORY=str(tmp_path), **LINKS) as client:
        yield client


def known(line: dict[str, Any]) -> dict[str, Any]:
    """A line without what each has of its own."""
    own = {name: line.pop(name) for name in ("time", "logger", "request_id")}
    assert own["logger"] == "backupexport.audit"
    assert own["time"].endswith("Z")
    return line


WHO = {"subject": "alice", "issuer": "us", "token_id": "t-1", "client": "127.0.0.1"}
EXPORT = "/api/backup/export"


@pytest.fixture
def alice(bearer: Make) -> dict[str, str]:
    headers: dict[str, str] = bearer(iss="us", jti="t-1", projects=["proj-123"])
    return headers


async def test_an_export(client: Client, lines: Lines, alice: dict[str, str]) -> None:
    headers = {**alice, "Idempotency-Key": "k"}
    body = {"project_id": "proj-123"}
    first = await client.post(EXPORT, json=body, headers=headers)
    again = await client.post(EXPORT, json=body, headers=headers)
    job_id = first.json()["data"]["job_id"]
    made, repeated = lines.taken()
    assert made["request_id"] == first.headers["X-Request-ID"]
    assert repeated["request_id"] == again.headers["X-Request-ID"]
    expected = {
        **WHO,
        "action": "create",
        "outcome": "accepted",
        "route": f"POST {EXPORT}",
        "project": "proj-123",
        "job": job_id,
    }
    assert known(made) == expected
    assert known(repeated) == {**expected, "outcome": "replayed"}
    # Another body: nothing was made.
    other = await client.post(EXPORT, json={**body, "format": "tar"}, headers=headers)
    assert (other.status_code, lines.taken()) == (409, [])


async def test_what_is_not_known_to_be_done(
    client: Client, store: Any, lines: Lines, alice: dict[str, str], monkeypatch: Any
) -> None:
    """Kubernetes may have done it, so it must be in the trail."""

    async def silent(*_: Any) -> Any:
        raise StoreUnavailableError("Try again.", "no answer")

    store.put(_unfinished(JOB_ID))
    for name in ("create_job", "cancel_job", "take_back_links"):
        monkeypatch.setattr(store, name, silent)
    for method, path, action in (
        ("POST", EXPORT, "create"),
        ("POST", f"/api/jobs/{JOB_ID}/cancel", "cancel"),
        ("DELETE", f"/api/jobs/{JOB_ID}/links", "take_back_links"),
    ):
        body = {"project_id": "proj-123"} if action == "create" else None
        answer = await client.request(method, path, json=body, headers=alice)
        assert answer.status_code == 503
        (line,) = lines.taken()
        assert (line["action"], line["outcome"], line["project"]) == (
            action,
            "unanswered",
            "proj-123",
        )
        assert "job" in line


def _unfinished(job_id: str) -> dict[str, Any]:
    metadata = {"name": job_id, "namespace": "exports"}
    return {"metadata": metadata, "spec": {"projectId": "proj-123"}}


async def test_cancelling(
    client: Client, store: Any, lines: Lines, alice: dict[str, str], exported: Exported
) -> None:
    job_id = another_id()
    store.put(_unfinished(job_id))
    for path, status, outcome in (
        (job_id, 202, "accepted"),
        (job_id, 202, "repeated"),
        (exported.job_id, 409, "too_late"),
    ):
        answer = await client.post(f"/api/jobs/{path}/cancel", headers=alice)
        (line,) = lines.taken()
        assert (answer.status_code, known(line)) == (
            status,
            {
                **WHO,
                "action": "cancel",
                "outcome": outcome,
                "route": "POST /api/jobs/{job_id}/cancel",
                "project": "proj-123",
                "job": path,
            },
        )


async def test_a_download_with_a_token(
    client: Client, lines: Lines, alice: dict[str, str], exported: Exported
) -> None:
    await client.get(exported.url, headers=alice)
    await client.get(exported.url, headers=alice | {"Range": "bytes=0-9"})
    expected = {
        **WHO,
        "route": "GET /api/jobs/{job_id}/download",
        "project": "proj-123",
        "job": JOB_ID,
    }
    for size in (len(CONTENT), 10):
        for action, outcome in (("download_start", "started"), ("download_end", "complete")):
            line = known(_next(lines))
            assert line == {**expected, "action": action, "outcome": outcome, "bytes": size}


def _next(lines: Lines) -> dict[str, Any]:
    text = lines.texts.pop(0)
    return {name: value for name, value in json.loads(text).items() if value is not None}


async def test_a_link_from_its_making_to_its_end(
    client: Client, lines: Lines, alice: dict[str, str], exported: Exported
) -> None:
    made = (await client.post(exported.link_url, headers=alice)).json()["data"]
    (line,) = map(known, lines.taken())
    maker = line.pop("link_maker")
    about = {"project": "proj-123", "job": JOB_ID, "link": made["link_id"]}
    assert line == {
        **WHO,
        **about,
        "action": "link",
        "outcome": "made",
        "route": "POST /api/jobs/{job_id}/link",
    }
    await client.get(made["url"])
    start, end = map(known, lines.taken())
    by_link = {
        **about,
        "link_maker": maker,
        "client": "127.0.0.1",
        "route": "GET /api/jobs/{job_id}/download",
        "bytes": len(CONTENT),
    }
    assert start == {**by_link, "action": "download_start", "outcome": "started"}
    assert end == {**by_link, "action": "download_end", "outcome": "complete"}

    await client.delete(f"/api/jobs/{JOB_ID}/links/{made['link_id']}", headers=alice)
    await client.delete(f"/api/jobs/{JOB_ID}/links", headers=alice)
    one, every = map(known, lines.taken())
    assert (one["action"], one["outcome"], one["link"]) == (
        "take_back_links",
        "done",
        made["link_id"],
    )
    assert (every["action"], every["outcome"], every.get("link")) == (
        "take_back_links",
        "done",
        None,
    )
    await client.get(made["url"])
    (refused,) = map(known, lines.taken())
    del by_link["bytes"], by_link["link_maker"], by_link["project"]
    assert refused == {**by_link, "action": "refusal", "outcome": "link_refused"}


async def test_a_download_that_fails_says_how_far_it_came(
    client: Client,
    lines: Lines,
    alice: dict[str, str],
    exported: Exported,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing(_: Any, start: int, __: int) -> bytes:
        if start:
            raise StorageUnavailableError("EIO")
        return b"x" * 1000

    monkeypatch.setattr(ExportFile, "read", failing)
    # So httpx calls an answer that is not whole.
    with pytest.raises(AssertionError):
        await client.get(exported.url, headers=alice)
    start, end = lines.taken()
    assert (start["outcome"], start["bytes"]) == ("started", len(CONTENT))
    assert (end["outcome"], end["bytes"]) == ("failed", 1000)


async def test_every_route_records_a_refusal(client: Client, lines: Lines, bearer: Make) -> None:
    """Also those that are still to come."""
    document = (await client.get("/openapi.json")).json()
    operations = [
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        # The only one that refuses nobody.
        if path.startswith("/api/") and path != "/api/client-configuration"
    ]
    assert len(operations) >= 9
    for method, template in operations:
        path = template.format(job_id=JOB_ID, link_id="0" * 16)
        for headers, code in (({}, "token_missing"), (bearer(exp=1), "token_invalid")):
            answer = await client.request(method, path, headers=headers)
            (line,) = map(known, lines.taken())
            job = {"job": JOB_ID} if "{job_id}" in template else {}
            assert answer.status_code == 401
            assert line == {
                "action": "refusal",
                "outcome": code,
                "client": "127.0.0.1",
                "route": f"{method} {template}",
                **job,
            }


async def test_every_change_is_recorded(
    client: Client, lines: Lines, bearer: Make, exported: Exported
) -> None:
    """Whatever is no GET changes something, those that are still to come, too."""
    document = (await client.get("/openapi.json")).json()
    for template, operations in document["paths"].items():
        for method in operations.keys() - {"get"}:
            path = template.format(job_id=JOB_ID, link_id="0" * 16)
            body = {"project_id": "proj-123"} if path == EXPORT else None
            await client.request(method, path, json=body, headers=bearer())
            (line,) = lines.taken()
            assert line["action"] != "refusal", (method, template)


async def test_a_project_that_a_token_is_not_good_for(
    client: Client, lines: Lines, alice: dict[str, str]
) -> None:
    await client.post(EXPORT, json={"project_id": "other"}, headers=alice)
    (line,) = map(known, lines.taken())
    assert line == {
        **WHO,
        "action": "refusal",
        "outcome": "project_forbidden",
        "route": f"POST {EXPORT}",
        "project": "other",
    }


async def test_what_is_no_event(
    client: Client, lines: Lines, alice: dict[str, str], exported: Exported
) -> None:
    for method, path, headers in (
        ("GET", "/api/jobs", alice),
        ("GET", f"/api/jobs/{JOB_ID}", alice),
        ("GET", f"/api/jobs/{another_id()}", alice),
        ("POST", f"/api/jobs/{another_id()}/cancel", alice),
        ("POST", EXPORT, alice),
        ("HEAD", exported.url, alice),
        ("GET", exported.url, alice | {"If-None-Match": exported.etag}),
        ("GET", exported.url, alice | {"Range": "bytes=9999-"}),
        ("GET", "/healthz", {}),
        ("GET", "/nothing", {}),
    ):
        await client.request(method, path, headers=headers)
        assert lines.taken() == [], (method, path)


HOSTILE = 'a"\n\r\x1b[2J\x7f\x85\u2028\u202e{"action":"create"}\ue000' + "x" * 900


@pytest.mark.parametrize("value", [HOSTILE, HOSTILE + "y" * 300, "\ud800", 7, {"a": 1}, None, True])
async def test_hostile_claims_stay_in_their_line(
    client: Client, lines: Lines, secret: str, value: Any
) -> None:
    issuer = Issuer("HS256", secret.encode())
    # PyJWT refuses a jti that is no text.
    token_id = value if isinstance(value, str) else None
    claims = issuer.claims(iss=value, jti=token_id, sub=HOSTILE)
    headers = {"Authorization": f"Bearer {issuer.token(claims=claims)}"}
    await client.post(EXPORT, json={"project_id": "proj-123"}, headers=headers)
    (text,) = lines.texts
    assert text.isascii()
    assert text.isprintable()
    line = json.loads(text)
    assert line["action"] == "create"
    for name in ("issuer", "token_id", "subject"):
        told = line[name]
        assert told is None or (told.isprintable() and len(told) <= LONGEST_TEXT)
    if not isinstance(value, str):
        assert (line["issuer"], line["token_id"]) == (None, None)


FORWARDED = "X-Forwarded-For"


@pytest.mark.parametrize(
    ("trusted", "header", "address"),
    [
        # Whoever asks may write anything.
        ("", "203.0.113.9", "127.0.0.1"),
        ("10.0.0.0/8", "203.0.113.9", "127.0.0.1"),
        ("127.0.0.0/8", None, "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8", "2001:db8::1", "2001:db8::1"),
        # What stood there before the proxy's own entry is the client's word.
        ("127.0.0.0/8", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8,10.0.0.0/8", "198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("127.0.0.0/8", "198.51.100.1, unknown", None),
        ("127.0.0.0/8", "<script>" * 100, None),
    ],
)
async def test_the_client_s_address(
    make_client: Make, lines: Lines, trusted: str, header: str | None, address: str | None
) -> None:
    async with make_client(TRUSTED_PROXIES=trusted) as client:
        await client.get("/api/jobs", headers={FORWARDED: header} if header else {})
    (line,) = lines.taken()
    assert line.get("client") == address


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/8,"])
def test_what_is_no_network_is_refused(make_settings: Make, value: str) -> None:
    with pytest.raises(ValueError, match="must be networks such as"):
        make_settings(TRUSTED_PROXIES=value)


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_the_log_s_level_and_format_mean_nothing_to_it(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: Any, log_format: Any
) -> None:
    logger, root = logging.getLogger("backupexport.audit"), logging.getLogger()
    for name in ("handlers", "propagate"):
        monkeypatch.setattr(logger, name, getattr(logger, name))
    monkeypatch.setattr(root, "handlers", root.handlers)
    before = root.level
    try:
        logs.configure("error", log_format)
        trail.configure()
        await asyncio.gather(*(client.get("/api/jobs") for _ in range(50)))
    finally:
        root.setLevel(before)
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 50
    assert {json.loads(line)["outcome"] for line in shown.out.splitlines()} == {"token_missing"}
    assert shown.err == ""


def test_every_field_is_described() -> None:
    assert all(field.description for field in AuditRecord.model_fields.values())
