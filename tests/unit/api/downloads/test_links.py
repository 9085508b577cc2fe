"""Links that open one job's file, for a while and without a token."""

import asyncio
import itertools
import logging
import string
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from backupexport_api.auth import secret_files
from backupexport_api.downloads.links import (
    Link,
    LinkedJob,
    is_good,
    link_query,
    maker_of,
    read_link,
)
from backupexport_contract import timestamps
from exported_files import CONTENT, JOB_ID, Exported, another_id, export, times_open
from pydantic import ValidationError

Client = httpx.AsyncClient
SECRET = "the-secret-of-links-" + "x" * 32
UID = "11111111-2222-3333-4444-555555555555"
NOW = 1_800_000_000
JOB = LinkedJob(JOB_ID, UID, "")
LINK = Link("0123456789abcdef", "fedcba9876543210", NOW + 60)


@pytest.fixture
def make_linking(make_client: Callable[..., Client], tmp_path: Path) -> Callable[..., Client]:
    def make(**environment: str) -> Client:
        return make_client(EXPORTS_DIRECTORY=str(tmp_path), LINK_SECRET=SECRET, **environment)

    return make


@pytest.fixture
async def client(make_linking: Callable[..., Client]) -> AsyncIterator[Client]:
    async with make_linking() as client:
        yield client


@pytest.fixture
def asker(bearer: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The header of one who may see the job."""
    return bearer(projects=["proj-123"])


async def made_url(client: Client, exported: Exported, asker: dict[str, str], **body: int) -> str:
    answer = await client.post(exported.link_url, headers=asker, json=body)
    assert answer.status_code == 201
    url: str = answer.json()["data"]["url"]
    return url


async def test_a_link_needs_no_token(
    client: Client, exported: Exported, asker: dict[str, str]
) -> None:
    made = await client.post(exported.link_url, headers=asker)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    data = made.json()["data"]
    assert data.keys() == {"link_id", "url", "expires_at"}
    assert data["url"].startswith(f"{exported.url}?")
    expected = datetime.now(UTC) + timedelta(seconds=900)
    assert abs((timestamps.from_text(data["expires_at"]) - expected).total_seconds()) < 3
    (expires,) = parse_qs(urlsplit(data["url"]).query)["expires"]
    assert int(expires) == timestamps.from_text(data["expires_at"]).timestamp()

    answer = await client.get(data["url"])
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert (await client.head(data["url"])).status_code == 200
    part = await client.get(data["url"], headers={"Range": "bytes=-5"})
    assert (part.status_code, part.content) == (206, CONTENT[-5:])


async def test_it_opens_nothing_but_the_file(
    client: Client, exported: Exported, asker: dict[str, str]
) -> None:
    query = urlsplit(await made_url(client, exported, asker)).query
    assert (await client.get(f"/api/jobs/{JOB_ID}?{query}")).status_code == 401
    assert (await client.post(f"{exported.link_url}?{query}")).status_code == 401
    assert (await client.post(f"/api/jobs/{JOB_ID}/cancel?{query}")).status_code == 401
    assert (await client.post(f"{exported.url}?{query}")).status_code == 405


@pytest.mark.parametrize(
    ("base", "start"),
    [
        ("", "/api/"),
        ("https://exports.example.com", "https://exports.example.com/api/"),
        ("https://example.com:8443/exports/", "https://example.com:8443/exports/api/"),
    ],
)
async def test_the_url_begins_with_what_is_configured_never_with_the_host_header(
    make_linking: Callable[..., Client],
    exported: Exported,
    asker: dict[str, str],
    base: str,
    start: str,
) -> None:
    async with make_linking(PUBLIC_URL=base) as client:
        url = await made_url(client, exported, asker | {"Host": "evil.example"})
    assert url.startswith(start)
    assert "evil" not in url


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """All that an answer tells, but what each request has of its own."""
    problem = answer.json()
    assert problem.pop("request_id") == answer.headers["x-request-id"]
    headers = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
    return answer.status_code, headers, problem


async def test_every_refusal_is_the_same(
    client: Client,
    store: Any,
    exported: Exported,
    asker: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = await made_url(client, exported, asker)
    path, _, query = good.partition("?")
    another = export(tmp_path, job_id=another_id(), projectId="other")
    store.put(another.manifest, **another.status)
    unfinished = export(tmp_path, job_id=another_id())
    store.put(unfinished.manifest, phase="Running")
    *names, expires, signature = query.split("&")
    path += "?" + "&".join(names)
    urls = {
        "another job": f"{another.url}?{query}",
        "an unfinished job": f"{unfinished.url}?{query}",
        "no job": f"/api/jobs/{another_id()}/download?{query}",
        "no id": f"/api/jobs/x/download?{query}",
        "upper case": good.replace(JOB_ID, JOB_ID.upper()),
        "no signature": f"{path}&{expires}",
        "no expiry": f"{path}&{signature}",
        "no id of its own": good.replace(names[0], "link="),
        "no maker": good.replace(f"{names[1]}&", ""),
        "another id": good.replace(names[0], "link=0123456789abcdef"),
        "another maker": good.replace(names[1], "maker=0123456789abcdef"),
        "an empty signature": f"{path}&{expires}&signature=",
        "padding": f"{good}=",
        "one more": f"{good}&expires=99999999999",
        "twice": f"{good}&{signature}",
        "something else": f"{good}&x=1",
        "a zero in front": good.replace("expires=", "expires=0"),
        "a sign": good.replace("expires=", "expires=%2B"),
        "a space": good.replace("expires=", "expires=%20"),
        "no number": f"{path}&expires=soon&{signature}",
        "a long number": f"{path}&expires={'9' * 5000}&{signature}",
        "other digits": f"{path}&expires=%D9%A1&{signature}",
        "later": f"{path}&expires={int(expires.split('=')[1]) + 1}&{signature}",
        "bytes": f"{path}&{expires}&signature=%ff%00",
    }
    answers = {name: told(await client.get(url)) for name, url in urls.items()}
    # Nor does a token help who comes by a bad link.
    answers["with a token"] = told(await client.get(urls["twice"], headers=asker))
    with monkeypatch.context() as patch:
        later = datetime.now(UTC) + timedelta(seconds=901)
        patch.setattr(timestamps, "now", lambda: later)
        answers["expired"] = told(await client.get(good))
    store.projects.discard("proj-123")
    answers["a project that is gone"] = told(await client.get(good))
    store.projects.add("proj-123")
    assert (await client.get(good)).status_code == 200
    manifest = {**exported.manifest, "metadata": {**exported.manifest["metadata"], "uid": UID}}
    store.put(manifest, **exported.status)
    answers["another resource of the same name"] = told(await client.get(good))
    store.index.discard(JOB_ID)
    answers["a job that is gone"] = told(await client.get(good))

    first = answers["no job"]
    assert first[0] == 403
    assert first[2]["code"] == "link_refused"
    assert {name: answer for name, answer in answers.items() if answer != first} == {}


async def test_each_changed_byte_is_refused(
    client: Client, exported: Exported, asker: dict[str, str]
) -> None:
    good = await made_url(client, exported, asker)
    start = good.index("?") + 1
    alphabet = string.ascii_letters + string.digits + "-_=&%+. "
    for position in range(start, len(good)):
        for character in alphabet[position % 7 :: 7]:
            if character == good[position]:
                continue
            changed = good[:position] + character + good[position + 1 :]
            answer = await client.get(httpx.URL(f"http://api{changed}"))
            assert answer.status_code == 403, changed
    assert (await client.get(good)).status_code == 200


def test_the_last_character_has_bits_that_decode_to_nothing() -> None:
    """Base64's own ambiguity: four spellings of one signature, of which one is good."""
    query = link_query(SECRET, JOB, LINK)
    spellings = 0
    for last in string.ascii_letters + string.digits + "-_":
        link = read_link([tuple(part.split("=")) for part in (query[:-1] + last).split("&")])  # type: ignore[misc]
        assert link is not None
        spellings += is_good(link, SECRET, JOB, NOW)
    assert spellings == 1


def test_a_link_is_bound_to_all_it_says() -> None:
    query = link_query(SECRET, JOB, LINK)
    link = read_link([tuple(part.split("=")) for part in query.split("&")])  # type: ignore[misc]
    assert link is not None
    assert link.link == LINK
    assert is_good(link, SECRET, JOB, NOW)
    assert is_good(link, SECRET, JOB, NOW + 59.9)
    assert not is_good(link, SECRET, JOB, NOW + 60)
    for secret, job in (
        (SECRET + "x", JOB),
        (SECRET, LinkedJob(UID, UID, "")),
        (SECRET, LinkedJob(JOB_ID, JOB_ID, "")),
        (SECRET, LinkedJob(JOB_ID + UID[0], UID[1:], "")),
        (SECRET, LinkedJob(JOB_ID, UID, "1")),
        (SECRET, LinkedJob(JOB_ID, UID, "\0")),
    ):
        assert not is_good(link, secret, job, NOW)
    for changes in ({"link_id": "f" * 16}, {"maker": "f" * 16}, {"expires_s": NOW + 61}):
        changed = replace(link, link=replace(LINK, **changes))
        assert not is_good(changed, SECRET, JOB, NOW)


def test_a_generation_is_any_text() -> None:
    """Whoever may write BackupExports may write any annotation."""
    queries = {
        link_query(SECRET, LinkedJob(JOB_ID, UID, text), LINK)
        for text in ("", "\0", "\0x", "0", "\xe4", "x" * 5000)
    }
    assert len(queries) == 6


def test_a_maker_is_a_hash_of_issuer_and_subject() -> None:
    makers = {
        maker_of(secret, issuer, subject)
        for secret in (SECRET, SECRET + "x")
        for issuer, subject in ((None, "alice"), ("", "alice"), ("a", "lice"), ("al", "ice"))
    }
    assert len(makers) == 8
    assert all(len(maker) == 16 for maker in makers)
    assert maker_of(SECRET, "us", "alice") == maker_of(SECRET, "us", "alice")


async def test_nobody_without_a_good_link_reaches_the_kubernetes_api(
    client: Client, store: Any, exported: Exported
) -> None:
    link = replace(LINK, expires_s=int(time.time()) + 60)
    query = link_query("y" * 32, JOB, link)
    for job_id in (JOB_ID, another_id()):
        assert (await client.get(f"/api/jobs/{job_id}/download?{query}")).status_code == 403
    assert store.looked_up == []


async def test_a_good_link_of_a_file_that_is_gone(
    client: Client, store: Any, exported: Exported, asker: dict[str, str]
) -> None:
    good = await made_url(client, exported, asker)
    exported.file.unlink()
    gone = await client.get(good)
    assert gone.status_code == 410
    # By a link nothing else would keep caches from it.
    assert gone.headers.get_list("cache-control") == ["no-store"]
    # Nor is there a link to what is not there.
    none = await client.post(exported.link_url, headers=asker)
    assert (none.status_code, none.json()["code"]) == (410, "artifact_gone")
    expired = {**exported.status, "expirationTime": "2026-02-01T00:00:00Z"}
    store.put(exported.manifest, **expired)
    assert (await client.get(good)).status_code == 410
    answer = await client.post(exported.link_url, headers=asker)
    assert (answer.status_code, answer.json()["code"]) == (410, "artifact_gone")


async def test_making_a_link_leaves_no_file_open(
    client: Client, exported: Exported, asker: dict[str, str]
) -> None:
    await made_url(client, exported, asker)
    async with asyncio.timeout(60):
        while times_open(exported.file):
            await asyncio.sleep(0.005)


async def test_who_may_have_a_link(
    client: Client, store: Any, exported: Exported, bearer: Callable[..., dict[str, str]]
) -> None:
    assert (await client.post(exported.link_url)).status_code == 401
    foreign = bearer(projects=["other"])
    hidden = await client.post(exported.link_url, headers=foreign)
    missing = await client.post(f"/api/jobs/{another_id()}/link", headers=foreign)
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json()["code"] == missing.json()["code"] == "job_not_found"
    for phase in ("Pending", "Running", "Failed", "Cancelled"):
        store.put(exported.manifest, phase=phase)
        answer = await client.post(exported.link_url, headers=bearer())
        assert (answer.status_code, answer.json()["code"]) == (409, "job_not_completed")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 201, None),
        (b"{}", 201, None),
        (b'{"lifetime_seconds": 60}', 201, None),
        (b'{"lifetime_seconds": 3600}', 201, None),
        (b'{"lifetime_seconds": 59}', 400, "too_small"),
        (b'{"lifetime_seconds": 3601}', 400, "too_large"),
        (b'{"lifetime_seconds": 86401}', 400, "too_large"),
        (b'{"lifetime_seconds": 60.0}', 201, None),
        (b'{"lifetime_seconds": 60.5}', 400, "not_an_integer"),
        (b'{"lifetime_seconds": 1e999}', 400, "not_an_integer"),
        (b'{"lifetime_seconds": "60"}', 400, "not_an_integer"),
        (b'{"lifetime_seconds": true}', 400, "not_an_integer"),
        (b'{"lifetime_seconds": null}', 400, "not_an_integer"),
        (b'{"lifetime_seconds": 60, "lifetime_seconds": 61}', 400, "malformed_body"),
        (b'{"seconds": 60}', 400, "unknown_field"),
        (b"[]", 400, "malformed_body"),
        (b"null", 400, "malformed_body"),
        (b"{", 400, "malformed_body"),
        (b" " * 20000, 413, None),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_bodies(
    make_linking: Callable[..., Client],
    exported: Exported,
    asker: dict[str, str],
    content: bytes,
    status: int,
    code: str | None,
) -> None:
    headers = asker | {"Content-Type": "application/json"}
    async with make_linking(LINK_MAX_SECONDS="3600") as client:
        answer = await client.post(exported.link_url, headers=headers, content=content)
    assert answer.status_code == status
    if code is not None:
        (error,) = answer.json()["errors"]
        assert error["code"] == code


async def test_the_longest_lifetime_is_told_as_people_read_it(
    make_linking: Callable[..., Client], exported: Exported, asker: dict[str, str]
) -> None:
    async with make_linking(LINK_MAX_SECONDS="9000") as client:
        answer = await client.post(
            exported.link_url, headers=asker, json={"lifetime_seconds": 86400}
        )
    assert answer.json()["errors"][0]["message"] == "must be at most 9000 (2 h 30 min)"


async def test_a_body_that_is_not_json(
    client: Client, exported: Exported, asker: dict[str, str]
) -> None:
    headers = asker | {"Content-Type": "text/plain"}
    answer = await client.post(exported.link_url, headers=headers, content=b"{}")
    assert answer.status_code == 415


async def test_the_default_is_no_longer_than_the_longest(
    make_linking: Callable[..., Client], exported: Exported, asker: dict[str, str]
) -> None:
    async with make_linking(LINK_MAX_SECONDS="120") as client:
        answer = await client.post(exported.link_url, headers=asker)
    expires = timestamps.from_text(answer.json()["data"]["expires_at"])
    assert 100 < (expires - datetime.now(UTC)).total_seconds() < 121


async def test_without_a_secret_there_are_no_links(
    make_client: Callable[..., Client], exported: Exported, asker: dict[str, str], tmp_path: Path
) -> None:
    async with make_client(EXPORTS_DIRECTORY=str(tmp_path)) as client:
        made = await client.post(exported.link_url, headers=asker)
        used = await client.get(f"{exported.url}?expires=1&signature=x")
        with_token = await client.get(exported.url, headers=asker)
    for answer in (made, used):
        assert (answer.status_code, answer.json()["code"]) == (501, "links_disabled")
        assert "BACKUPEXPORT_LINK_SECRET" in answer.json()["detail"]
    assert with_token.status_code == 200


def test_the_secret_is_one_of_its_own(make_settings: Callable[..., Any], secret: str) -> None:
    for bad in ("short", secret, f"{secret}\n"):
        with pytest.raises(ValidationError) as caught:
            make_settings(LINK_SECRET=bad)
        assert "link_secret" in str(caught.value)
        assert bad not in str(caught.value)
    assert make_settings(LINK_SECRET=SECRET).link_secret.get_secret_value() == SECRET


@pytest.mark.parametrize(
    "url", ["exports.example.com", "ftp://x", "https://", "https://u:p@x", "https://x/?a", "//x"]
)
def test_a_public_url_that_is_none(make_settings: Callable[..., Any], url: str) -> None:
    with pytest.raises(ValidationError):
        make_settings(PUBLIC_URL=url)


async def test_a_link_has_a_limit_of_its_own(
    make_linking: Callable[..., Client], exported: Exported, asker: dict[str, str]
) -> None:
    async with make_linking(READ_RATE_LIMIT="3/minute") as client:
        first = await made_url(client, exported, asker, lifetime_seconds=100)
        second = await made_url(client, exported, asker, lifetime_seconds=200)
        statuses = [(await client.get(first)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        limited = await client.get(first)
        assert int(limited.headers["retry-after"]) > 0
        # Neither another link nor the token that made both is held up by it.
        assert (await client.get(second)).status_code == 200
        assert (await client.get(exported.url, headers=asker)).status_code == 200
        # Bad links cost the good one nothing.
        for _ in range(5):
            assert (await client.get(f"{second}x")).status_code == 403
        assert (await client.get(second)).status_code == 200


async def test_neither_signature_nor_secret_is_told_anywhere(
    client: Client,
    exported: Exported,
    asker: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    # httpx has a log, too.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    url = await made_url(client, exported, asker)
    signature = url.rpartition("=")[2]
    exported.file.write_bytes(b"swapped")
    answers = [await client.get(one) for one in (url, f"{url}x", f"{url}&signature=y")]
    records = [str(vars(record)) + record.getMessage() for record in caplog.records]
    assert records
    metrics = (await client.get("/metrics")).text
    for text in itertools.chain(records, [metrics], (answer.text for answer in answers)):
        assert signature not in text
        assert SECRET not in text
        assert "signature=" not in text


def test_another_expiry_is_another_signature() -> None:
    links = [replace(LINK, expires_s=NOW + shift) for shift in range(100)]
    queries = {link_query(SECRET, JOB, link) for link in links}
    assert len({query.rpartition("=")[2] for query in queries}) == 100


async def test_links_by_the_secret_from_before_are_good_while_it_is_there(
    exported: Exported,
    make_client: Callable[..., Any],
    asker: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secret_files, "LOOK_AGAIN_SECONDS", 0)
    file, previous = tmp_path / "link", tmp_path / "previous"
    file.write_text(SECRET + "\n")
    settings = {
        "EXPORTS_DIRECTORY": str(tmp_path),
        "LINK_SECRET_FILE": str(file),
        "LINK_SECRET_PREVIOUS_FILE": str(previous),
    }
    async with make_client(**settings) as client:

        async def link() -> str:
            made = await client.post(exported.link_url, headers=asker)
            return str(made.json()["data"]["url"])

        async def status(url: str) -> int:
            return int((await client.get(url)).status_code)

        old = await link()
        assert await status(old) == 200
        previous.write_text(SECRET)
        file.write_text("another-secret-" + "0123456789abcdef" * 2)
        new = await link()
        assert (await status(old), await status(new)) == (200, 200)
        previous.unlink()
        assert (await status(old), await status(new)) == (403, 200)
