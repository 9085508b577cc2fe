"""Downloads of objects in a bucket: by redirect to it, and through the api."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from backupexport_api.audit.record import LOGGER
from backupexport_api.downloads import bucket as buckets
from backupexport_runtime import buckets as opening
from exported_files import CONTENT, LAST_MODIFIED, Exported, export
from playground.forward import free_port
from playground.s3_server import KeyPair
from s3_client import Bucket
from s3_faults import ANSWER, CUT, DELAY, DROP_AFTER, DROP_BEFORE, Fault, FaultProxy
from s3_server import S3Server

Client = httpx.AsyncClient
Make = Callable[..., Any]

NAME = "offsite"
PREFIX = "exports/all"
LINKS = {"LINK_SECRET": "the-secret-of-links-" + "x" * 32}


class Stored:
    """An export whose file is an object; `credentials` is the Secret's directory."""

    def __init__(self, server: S3Server, bucket: Bucket, directory: Path, store: Any) -> None:
        self.server, self.bucket, self._store = server, bucket, store
        self.directory = directory
        self.credentials = directory / NAME
        self.credentials.mkdir(parents=True)
        self.use(server.owner)

    def use(self, keys: KeyPair) -> None:
        """Have these in the Secret."""
        (self.credentials / "AWS_ACCESS_KEY_ID").write_text(keys.access_key_id + "\n")
        (self.credentials / "AWS_SECRET_ACCESS_KEY").write_text(keys.secret_access_key + "\n")

    def settings(self, s3: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
        """The api's environment."""
        spec = {
            "bucket": self.bucket.name,
            "prefix": PREFIX,
            "endpoint": self.server.url,
            # Behind a proxy it is the same server.
            "formerEndpoints": [self.server.url],
            "pathStyle": True,
            **(s3 or {}),
        }
        storages = {NAME: {"s3": spec, "secretRef": {"name": "s"}, **changes}}
        return {
            "STORAGES": json.dumps(storages),
            "STORAGES_DIRECTORY": str(self.directory),
            **LINKS,
        }

    def export(self, content: bytes = CONTENT, **artifact: Any) -> Exported:
        """Put the object, and tell of it; `artifact` changes what the status says."""
        made = export(self.directory.parent / "made", content)
        path = made.status["artifact"]["path"]
        self.bucket.put(f"{PREFIX}/{path}", content)
        url = f"s3://{self.bucket.name}/{PREFIX}/{path}"
        place = {"storage": NAME, "url": url, "endpoint": self.server.url}
        told = {**made.status["artifact"], **place, **artifact}
        made = replace(made, status={**made.status, "artifact": told})
        self._store.put(made.manifest, **made.status)
        return made


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server on a busy machine takes is no fault of its."""
    monkeypatch.setattr(buckets, "_ANSWER_SECONDS", 30.0)


@pytest.fixture
def stored(s3_server: S3Server, s3_bucket: Bucket, tmp_path: Path, store: Any) -> Stored:
    return Stored(s3_server, s3_bucket, tmp_path / "storages", store)


@pytest.fixture
def make(make_client: Make, bearer: Make, stored: Stored) -> Make:
    """A maker of clients with a token."""

    def make(s3: dict[str, Any] | None = None, **changes: Any) -> Client:
        client: Client = make_client(**stored.settings(s3, **changes))
        client.headers.update(bearer())
        return client

    return make


@pytest.fixture
async def client(make: Make) -> AsyncIterator[Client]:
    async with make() as client:
        yield client


@pytest.fixture
async def streaming(make: Make) -> AsyncIterator[Client]:
    """A client of an api that passes files through."""
    async with make(downloads="stream") as client:
        yield client


@pytest.fixture
async def outside() -> AsyncIterator[Client]:
    """Somebody who asks the bucket, and sends no token there."""
    async with Client(trust_env=False) as client:
        yield client


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The audit trail's lines."""
    return lambda: [json.loads(r.getMessage()) for r in caplog.records if r.name == LOGGER]


async def test_the_client_is_sent_to_the_bucket(
    client: Client, outside: Client, stored: Stored, lines: Any
) -> None:
    exported = stored.export()
    answer = await client.get(exported.url, headers={"Range": "bytes=10-"})
    assert (answer.status_code, answer.content) == (307, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    url = answer.headers["location"]
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["300"]
    whole = await outside.get(url)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    part = await outside.get(url, headers={"Range": "bytes=4000-4009"})
    assert (part.status_code, part.content) == (206, CONTENT[4000:4010])
    # It is good for what was asked alone.
    assert (await outside.head(url)).status_code == 403
    assert (await outside.delete(url)).status_code == 403
    (line,) = lines()
    assert (line["action"], line["outcome"]) == ("download_start", "redirected")
    assert (line["subject"], line["job"], line["bytes"]) == ("alice", exported.job_id, None)
    metrics = (await client.get("/metrics")).text
    assert 'backupexport_downloads_total{outcome="redirected"} 1.0' in metrics
    assert "backupexport_downloads_under_way 0.0" in metrics


async def test_head_is_sent_there_for_head(
    client: Client, outside: Client, stored: Stored, lines: Any
) -> None:
    answer = await client.head(stored.export().url)
    assert answer.status_code == 307
    told = await outside.head(answer.headers["location"])
    assert (told.status_code, told.headers["content-length"]) == (200, str(len(CONTENT)))
    assert (await outside.get(answer.headers["location"])).status_code == 403
    # It fetches nothing.
    assert lines() == []


async def test_a_client_that_follows_gets_the_file(
    client: Client, stored: Stored, make_client: Make
) -> None:
    """A token is not passed on to another origin: the bucket would refuse two proofs at once."""
    exported = stored.export()
    asked: list[httpx.Request] = []
    ours = client._transport
    real = httpx.AsyncHTTPTransport(trust_env=False)

    class Both(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request)
            transport = ours if request.url.host == "api" else real
            return await transport.handle_async_request(request)

        async def aclose(self) -> None:
            await real.aclose()

    async with Client(transport=Both(), base_url="http://api", headers=client.headers) as both:
        answer = await both.get(exported.url, headers={"Range": "bytes=1-5"}, follow_redirects=True)
    assert (answer.status_code, answer.content) == (206, CONTENT[1:6])
    assert ["authorization" in request.headers for request in asked] == [True, False]


async def test_how_long_the_url_is_good_and_where_it_leads(make: Make, stored: Stored) -> None:
    s3 = {"publicEndpoint": "https://files.example.com", "endpoint": stored.server.url}
    exported = stored.export()
    async with make(s3, urlSeconds=10) as client:
        url = urlsplit((await client.get(exported.url)).headers["location"])
    path = exported.status["artifact"]["path"]
    assert (url.scheme, url.netloc) == ("https", "files.example.com")
    assert url.path == f"/{stored.bucket.name}/{PREFIX}/{path}"
    query = parse_qs(url.query)
    assert (query["X-Amz-Expires"], query["X-Amz-SignedHeaders"]) == (["10"], ["host"])
    # The credentials' secret part is in none of it.
    assert stored.server.owner.secret_access_key not in url.geturl()


async def test_a_link_leads_there_until_it_is_taken_back(
    client: Client, outside: Client, stored: Stored
) -> None:
    exported = stored.export()
    made = (await client.post(exported.link_url)).json()["data"]
    client.headers.pop("Authorization")
    answer = await client.get(made["url"])
    assert answer.status_code == 307
    assert (await outside.get(answer.headers["location"])).content == CONTENT


async def test_a_link_that_is_taken_back_leads_nowhere(client: Client, stored: Stored) -> None:
    exported = stored.export()
    made = (await client.post(exported.link_url)).json()["data"]
    taken = await client.delete(f"/api/jobs/{exported.job_id}/links/{made['link_id']}")
    assert taken.status_code == 204
    answer = await client.get(made["url"], headers={"Authorization": ""})
    assert (answer.status_code, answer.json()["code"]) == (403, "link_refused")
    assert "location" not in answer.headers


async def test_no_place_is_held(make_client: Make, bearer: Make, stored: Stored) -> None:
    exported = stored.export()
    settings = {**stored.settings(), "MOST_DOWNLOADS": "1", "MOST_DOWNLOADS_EACH": "1"}
    async with make_client(**settings) as client:
        for _ in range(3):
            assert (await client.get(exported.url, headers=bearer())).status_code == 307


async def test_who_may_not_see_it_is_not_sent_there(
    client: Client, bearer: Make, stored: Stored
) -> None:
    exported = stored.export()
    answers = [
        await client.get(exported.url, headers=bearer(projects=["other"])),
        await client.get(exported.url, headers={"Authorization": ""}),
        await client.get(f"{exported.url}?link=1&maker=1&expires=1&signature=1"),
    ]
    assert [answer.status_code for answer in answers] == [404, 401, 403]
    assert not any("location" in answer.headers for answer in answers)


async def test_an_object_that_has_gone(client: Client, streaming: Client, stored: Stored) -> None:
    exported = stored.export()
    (key,) = stored.bucket.keys()
    stored.bucket.delete(key)
    for answer in (
        await client.get(exported.url),
        await streaming.get(exported.url),
        await client.post(exported.link_url),
    ):
        assert (answer.status_code, answer.json()["code"]) == (410, "artifact_gone")


async def test_another_size_is_another_file(client: Client, stored: Stored) -> None:
    exported = stored.export()
    (key,) = stored.bucket.keys()
    stored.bucket.put(key, CONTENT + b"x")
    assert (await client.get(exported.url)).status_code == 410


async def test_the_retention_counts_there_too(client: Client, stored: Stored, store: Any) -> None:
    made = stored.export()
    store.put(made.manifest, **{**made.status, "expirationTime": "2026-01-30T00:00:00Z"})
    assert (await client.get(made.url)).status_code == 410


@pytest.mark.parametrize(
    "url",
    [
        "s3://another-bucket/{prefix}/{path}",
        "s3://{bucket}/{path}",
        "s3://{bucket}/{prefix}/other/20260129T153000Z-file.sql.zst",
        "s3://{bucket}/{prefix}/{path}/../x",
        "gs://{bucket}/{prefix}/{path}",
        "https://elsewhere.example/{prefix}/{path}",
        "",
    ],
)
async def test_a_status_leads_nowhere(client: Client, stored: Stored, url: str) -> None:
    """Its URL is compared, and never followed."""
    path = stored.export().status["artifact"]["path"]
    hostile = stored.export(url=url.format(bucket=stored.bucket.name, prefix=PREFIX, path=path))
    for answer in (await client.get(hostile.url), await client.post(hostile.link_url)):
        assert (answer.status_code, answer.json()["code"]) == (501, "file_elsewhere")
        assert "location" not in answer.headers


@pytest.mark.parametrize("endpoint", ["https://another.example", "", None])
async def test_a_bucket_of_that_name_on_another_server_is_another_one(
    client: Client, stored: Stored, endpoint: str | None
) -> None:
    answer = await client.get(stored.export(endpoint=endpoint).url)
    assert (answer.status_code, answer.json()["code"]) == (501, "file_elsewhere")
    assert "location" not in answer.headers


async def test_of_two_buckets_of_one_name_the_one_that_has_the_file_is_asked(
    make_client: Make, bearer: Make, stored: Stored
) -> None:
    settings = stored.settings()
    (mine,) = json.loads(settings["STORAGES"]).values()
    spec = {**mine["s3"], "endpoint": "https://another.example", "formerEndpoints": []}
    # The recorded name decides between two for one place.
    storages = {"another": {"s3": spec}, "twin": {**mine, "urlSeconds": 10}, NAME: mine}
    settings["STORAGES"] = json.dumps(storages)
    async with make_client(**settings) as client:
        client.headers.update(bearer())
        answer = await client.get(stored.export().url)
        assert answer.status_code == 307
        assert answer.headers["location"].startswith(stored.server.url)
        assert "X-Amz-Expires=300&" in answer.headers["location"]


async def test_a_status_with_two_places_has_none(client: Client, stored: Stored) -> None:
    assert (await client.get(stored.export(claim="exports").url)).status_code == 409


async def test_a_file_on_a_volume_is_not_looked_for_in_a_bucket(
    client: Client, stored: Stored
) -> None:
    answer = await client.get(stored.export(url=None, claim="exports").url)
    assert (answer.status_code, answer.json()["code"]) == (501, "file_elsewhere")


async def test_volumes_and_buckets_side_by_side(
    make_client: Make, bearer: Make, stored: Stored, store: Any, tmp_path: Path
) -> None:
    """The main volume, another storage that is one, and the bucket: each file where it is."""
    settings = stored.settings()
    storages = {**json.loads(settings["STORAGES"]), "second": {"volume": {"claim": "b"}}}
    settings |= {"STORAGES": json.dumps(storages), "EXPORTS_CLAIM": "a"}
    settings |= {"EXPORTS_DIRECTORY": str(tmp_path / "main")}
    settings |= {"VOLUMES_DIRECTORY": str(tmp_path / "volumes")}
    (tmp_path / "main").mkdir()
    stored.export()

    def on_volume(root: Path, content: bytes, claim: str) -> Exported:
        made = export(root, content)
        status = {**made.status, "artifact": {**made.status["artifact"], "claim": claim}}
        store.put(made.manifest, **status)
        return made

    async with make_client(**settings) as client:
        client.headers.update(bearer())
        for root, content, claim in (
            (tmp_path / "main", b"1" * 50, "a"),
            (tmp_path / "volumes" / "second", b"2" * 60, "b"),
        ):
            answer = await client.get(on_volume(root, content, claim).url)
            assert (answer.status_code, answer.content) == (200, content)
        answer = await client.get(on_volume(tmp_path / "main", b"3", "c").url)
        assert answer.json()["code"] == "file_elsewhere"
        assert (await client.get(stored.export().url)).status_code == 307


async def test_rotated_credentials_are_used_without_a_restart(
    client: Client, outside: Client, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_SECONDS_BETWEEN_READS", 0.0)
    exported = stored.export()
    assert (await client.get(exported.url)).status_code == 307
    stored.use(KeyPair("nobody", "x" * 40))
    refused = await client.get(exported.url)
    assert (refused.status_code, refused.json()["code"]) == (503, "bucket_unavailable")
    stored.use(stored.server.owner)
    answer = await client.get(exported.url)
    assert (await outside.get(answer.headers["location"])).content == CONTENT


def put_away(stored: Stored, made: Make, what: str) -> Client:
    """A client of an api whose bucket can't be used."""
    if what == "credentials":
        stored.use(KeyPair(stored.server.owner.access_key_id, "wrong" * 8))
        client = made()
    elif what == "no Secret":
        shutil.rmtree(stored.credentials)
        client = made()
    elif what == "half a Secret":
        (stored.credentials / "AWS_SECRET_ACCESS_KEY").unlink()
        client = made()
    elif what == "server":
        client = made({"endpoint": f"http://127.0.0.1:{free_port()}"})
    else:
        client = made({"bucket": "no-such-bucket"})
    assert isinstance(client, Client)
    return client


@pytest.mark.parametrize("what", ["credentials", "no Secret", "half a Secret", "server", "bucket"])
async def test_a_bucket_that_can_t_be_used(
    make: Make,
    stored: Stored,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exported = stored.export()
    # The pod's own identity is good, and does not take the Secret's place.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", stored.server.owner.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stored.server.owner.secret_access_key)
    if what == "bucket":
        path = exported.status["artifact"]["path"]
        exported = stored.export(url=f"s3://no-such-bucket/{PREFIX}/{path}")
    async with put_away(stored, make, what) as client:
        for answer in (await client.get(exported.url), await client.post(exported.link_url)):
            assert (answer.status_code, answer.json()["code"]) == (503, "bucket_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        # It is no reason to take the api out of service.
        assert (await client.get("/readyz")).status_code == 200
    why = {
        "credentials": "PermissionDeniedError 403",
        "no Secret": "its Secret can't be used: none of the keys AWS_ACCESS_KEY_ID, ",
        "half a Secret": "its Secret can't be used: it has AWS_ACCESS_KEY_ID, but no",
        "server": "GenericError",
        "bucket": "NoSuchBucket",
    }[what]
    assert re.search(f"s3://.* does not answer: .*{re.escape(why)}", caplog.text)
    assert "wrong" * 8 not in caplog.text


async def test_through_the_api(streaming: Client, stored: Stored, lines: Any) -> None:
    exported = stored.export()
    answer = await streaming.get(exported.url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["etag"] == exported.etag
    assert answer.headers["last-modified"] == LAST_MODIFIED
    assert answer.headers["content-disposition"].endswith(f'"{exported.file.name}"')
    head = await streaming.head(exported.url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
    part = await streaming.get(exported.url, headers={"Range": "bytes=-7"})
    assert (part.status_code, part.content) == (206, CONTENT[-7:])
    several = await streaming.get(exported.url, headers={"Range": "bytes=4000-4999,0-9"})
    assert several.status_code == 206
    assert several.content.index(CONTENT[4000:]) < several.content.index(CONTENT[:10])
    same = await streaming.get(exported.url, headers={"If-None-Match": exported.etag})
    assert same.status_code == 304
    assert (await streaming.get(exported.url, headers={"Range": "bytes=5000-"})).status_code == 416
    assert [line["outcome"] for line in lines()] == ["started", "complete"] * 3


async def test_a_large_object_through_the_api(
    streaming: Client, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = buckets.BucketObject._fetched

    async def fetched(self: Any, start: int, end: int) -> memoryview:
        asked.append(end - start)
        return await read(self, start, end)

    monkeypatch.setattr(buckets.BucketObject, "_fetched", fetched)
    content = CONTENT * 1000 + b"end"
    exported = stored.export(content)
    assert (await streaming.get(exported.url)).content == content
    # Few requests, and never much in memory.
    assert max(asked) == 1024 * 1024
    assert len(asked) == 7
    asked.clear()
    part = await streaming.get(exported.url, headers={"Range": "bytes=1000000-3000000"})
    assert part.content == content[1000000:3000001]
    asked.clear()
    assert (await streaming.get(exported.url, headers={"Range": "bytes=9-18"})).status_code == 206
    assert asked == [10]


async def test_an_object_that_changes_half_way_is_cut(
    streaming: Client, stored: Stored, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = CONTENT * 300
    exported = stored.export(content)
    read = buckets.BucketObject._fetched

    async def fetched(self: Any, start: int, end: int) -> memoryview:
        if start:
            (key,) = stored.bucket.keys()
            stored.bucket.put(key, bytes(len(content)))
        return await read(self, start, end)

    monkeypatch.setattr(buckets.BucketObject, "_fetched", fetched)
    # So httpx calls an answer that is not whole.
    with pytest.raises(AssertionError):
        await streaming.get(exported.url)
    start, end = lines()
    assert (start["outcome"], start["bytes"]) == ("started", len(content))
    assert (end["outcome"], end["bytes"]) == ("failed", 128 * 1024)


@pytest.fixture
def faulty(stored: Stored) -> Iterator[FaultProxy]:
    """What is between the api and the server."""
    with FaultProxy(stored.server.url) as proxy:
        yield proxy


async def test_a_server_that_is_short_of_breath_is_asked_again(
    make: Make, stored: Stored, faulty: FaultProxy
) -> None:
    exported = stored.export()
    faulty.let_through(0, Fault(ANSWER, times=2))
    async with make({"endpoint": faulty.url}) as client:
        assert (await client.get(exported.url)).status_code == 307


@pytest.mark.parametrize("fault", [Fault(ANSWER), Fault(DROP_BEFORE), Fault(DELAY, seconds=9)])
async def test_no_client_waits_long_for_a_server(
    make: Make, stored: Stored, faulty: FaultProxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_ANSWER_SECONDS", 1.0)
    exported = stored.export()
    faulty.let_through(0, fault)
    async with make({"endpoint": faulty.url}) as client, asyncio.timeout(60):
        answer = await client.get(exported.url)
    assert (answer.status_code, answer.json()["code"]) == (503, "bucket_unavailable")


@pytest.mark.parametrize("what", [CUT, DROP_BEFORE, DROP_AFTER, ANSWER])
async def test_a_read_that_fails_once_is_made_again(
    make: Make, stored: Stored, faulty: FaultProxy, what: str
) -> None:
    content = CONTENT * 1000
    exported = stored.export(content)
    async with make({"endpoint": faulty.url}, downloads="stream") as client:
        # HEAD and three reads are well.
        faulty.let_through(4, Fault(what, times=1))
        answer = await client.get(exported.url)
    assert (answer.status_code, answer.content) == (200, content)


async def test_a_server_that_is_lost_half_way_ends_the_download(
    make: Make, stored: Stored, faulty: FaultProxy, lines: Any
) -> None:
    content = CONTENT * 1000
    exported = stored.export(content)
    async with make({"endpoint": faulty.url}, downloads="stream") as client:
        faulty.let_through(4, Fault(CUT))
        with pytest.raises(AssertionError):
            await client.get(exported.url)
    _, end = lines()
    assert (end["outcome"], end["bytes"]) == ("failed", (1 + 2 + 4) * 128 * 1024)
