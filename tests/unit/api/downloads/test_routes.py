"""GET and HEAD /api/jobs/{job_id}/download."""

import asyncio
import base64
import hashlib
import logging
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import httpx
import pytest
from age_keys import AGE
from backupexport_api.downloads import service
from backupexport_api.jobs.finished_file import FinishedFile
from backupexport_api.kube.errors import StoreUnavailableError
from backupexport_contract import timestamps
from backupexport_contract.fields import Compression, Format
from backupexport_contract.names import MEDIA_TYPES, artifact_file_name
from exported_files import CONTENT, LAST_MODIFIED, Exported, another_id, export, times_open
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Client = httpx.AsyncClient


@pytest.fixture
async def client(
    make_client: Callable[..., Client], bearer: Callable[..., dict[str, str]], tmp_path: Path
) -> AsyncIterator[Client]:
    """One with a token."""
    async with make_client(EXPORTS_DIRECTORY=str(tmp_path)) as client:
        client.headers.update(bearer())
        yield client


async def test_the_whole_file(client: Client, exported: Exported) -> None:
    answer = await client.get(exported.url)
    assert answer.status_code == 200
    assert answer.content == CONTENT
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    expected = {
        "content-length": "5000",
        "content-type": "application/zstd",
        "content-disposition": f'attachment; filename="{exported.file.name}"',
        "etag": exported.etag,
        "repr-digest": f"sha-256=:{digest}:",
        "last-modified": LAST_MODIFIED,
        "accept-ranges": "bytes",
        "cache-control": "private, no-store, no-transform",
        "x-accel-buffering": "no",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected
    # It is meant to stay compressed.
    assert "content-encoding" not in answer.headers
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    ("spec", "media_type"),
    [
        ({}, "application/zstd"),
        ({"compression": "gzip"}, "application/gzip"),
        ({"format": "tar", "compression": "gzip"}, "application/gzip"),
        ({"format": "tar", "compress": False}, "application/x-tar"),
        ({"compress": False}, "application/sql"),
        ({"format": "custom"}, "application/octet-stream"),
        ({"format": "custom", "compress": False}, "application/octet-stream"),
        ({"storagePath": "a/b.c"}, "application/zstd"),
        ({"encryptTo": [AGE]}, "application/octet-stream"),
    ],
)
async def test_every_kind_of_file(
    client: Client, store: Any, tmp_path: Path, spec: dict[str, Any], media_type: str
) -> None:
    made = export(tmp_path, **spec)
    store.put(made.manifest, **made.status)
    answer = await client.get(made.url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == media_type


@pytest.mark.parametrize("dump_format", get_args(Format))
@pytest.mark.parametrize("compression", ["none", *get_args(Compression)])
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_every_file_that_is_made_has_a_media_type(
    dump_format: str, compression: str, is_encrypted: bool
) -> None:
    name = artifact_file_name(
        datetime.now(UTC), str(uuid.uuid4()), dump_format, compression, is_encrypted=is_encrypted
    )
    assert FinishedFile(name, 1, b"", 0, None).media_type in MEDIA_TYPES


async def test_head_tells_what_get_does(client: Client, exported: Exported) -> None:
    per_request = ("x-request-id", "ratelimit", "x-ratelimit")
    for headers in ({}, {"If-None-Match": exported.etag}, {"If-Match": '"other"'}):
        got = await client.get(exported.url, headers=headers)
        head = await client.head(exported.url, headers=headers)
        assert head.status_code == got.status_code
        told = [
            {k: v for k, v in answer.headers.items() if not k.startswith(per_request)}
            for answer in (got, head)
        ]
        assert told[0] == told[1]
    # Range is of GET alone.
    ranged = await client.head(exported.url, headers={"Range": "bytes=0-9"})
    assert (ranged.status_code, ranged.headers["content-length"]) == (200, "5000")


async def test_a_range(client: Client, exported: Exported) -> None:
    answer = await client.get(exported.url, headers={"Range": "bytes=10-19"})
    assert answer.status_code == 206
    assert answer.content == CONTENT[10:20]
    assert answer.headers["content-range"] == "bytes 10-19/5000"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["content-type"] == "application/zstd"
    assert answer.headers["etag"] == exported.etag
    whole = await client.get(exported.url)
    # Of the whole file, whatever part is sent.
    assert answer.headers["repr-digest"] == whole.headers["repr-digest"]


def parts_of(answer: httpx.Response) -> list[tuple[str, str, bytes]]:
    """What a multipart answer holds, by Python's own reader of such bodies."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode("ascii")
    message = BytesParser().parsebytes(head + answer.content)
    assert not message.defects
    return [
        (str(part["Content-Type"]), str(part["Content-Range"]), _payload(part))
        for part in message.walk()
        if not part.is_multipart()
    ]


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


async def test_several_ranges(client: Client, store: Any, tmp_path: Path) -> None:
    # Python's reader takes the last newline before a boundary, and turns others, for its own.
    content = bytes(range(32, 127)) * 20
    made = export(tmp_path, content)
    store.put(made.manifest, **made.status)
    answer = await client.get(made.url, headers={"Range": "bytes=100-149,0-9,-5"})
    assert answer.status_code == 206
    media_type = answer.headers["content-type"]
    assert re.fullmatch(r"multipart/byteranges; boundary=[0-9a-f]{32}", media_type)
    assert "content-range" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert parts_of(answer) == [
        ("application/zstd", "bytes 100-149/1900", content[100:150]),
        ("application/zstd", "bytes 0-9/1900", content[:10]),
        ("application/zstd", "bytes 1895-1899/1900", content[-5:]),
    ]
    again = await client.get(made.url, headers={"Range": "bytes=100-149,0-9,-5"})
    assert again.headers["content-type"] != media_type


async def test_ranges_that_are_one_in_the_end_are_sent_as_one(
    client: Client, exported: Exported
) -> None:
    for header in ("bytes=0-9,10-19", "bytes=0-19,9000-"):
        answer = await client.get(exported.url, headers={"Range": header})
        assert (answer.status_code, answer.content) == (206, CONTENT[:20])
        assert answer.headers["content-range"] == "bytes 0-19/5000"


async def test_an_unsatisfiable_range(client: Client, exported: Exported) -> None:
    answer = await client.get(exported.url, headers={"Range": "bytes=5000-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */5000"
    assert answer.json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize("header", ["bytes=5-1", "bytes=x", "pages=1-2", "bytes=" + "0-0," * 30])
async def test_a_range_that_is_none_is_ignored(
    client: Client, exported: Exported, header: str
) -> None:
    answer = await client.get(exported.url, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_two_range_headers_are_none(client: Client, exported: Exported) -> None:
    headers = [*client.headers.items(), ("Range", "bytes=0-1"), ("Range", "bytes=0-1")]
    answer = await client.get(exported.url, headers=headers)
    assert answer.status_code == 200


async def test_if_range(client: Client, exported: Exported) -> None:
    for condition, status in (
        (exported.etag, 206),
        (LAST_MODIFIED, 206),
        (f"W/{exported.etag}", 200),
        ('"another"', 200),
    ):
        headers = {"Range": "bytes=4000-", "If-Range": condition}
        answer = await client.get(exported.url, headers=headers)
        assert answer.status_code == status, condition
        assert answer.content == (CONTENT[4000:] if status == 206 else CONTENT)
    # To miss the file is no mistake of a client whose part is of another one.
    headers = {"Range": "bytes=9000-", "If-Range": '"another"'}
    assert (await client.get(exported.url, headers=headers)).status_code == 200


async def test_conditions(client: Client, exported: Exported) -> None:
    same = await client.get(exported.url, headers={"If-None-Match": exported.etag})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == exported.etag
    assert "content-type" not in same.headers
    other = await client.get(exported.url, headers={"If-Match": '"another"'})
    assert (other.status_code, other.json()["code"]) == (412, "precondition_failed")
    # The condition comes before the range.
    headers = {"If-Match": '"another"', "Range": "bytes=9000-"}
    assert (await client.get(exported.url, headers=headers)).status_code == 412


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(CONTENT)))
async def test_resumed_at_any_byte_it_is_the_whole(
    client: Client, exported: Exported, cut: int
) -> None:
    rest = await client.get(
        exported.url, headers={"Range": f"bytes={cut}-", "If-Range": exported.etag}
    )
    if cut == len(CONTENT):
        # What curl -C - and wget -c take for an end.
        assert rest.status_code == 416
        assert rest.headers["content-range"] == f"bytes */{cut}"
    else:
        assert rest.status_code == 206
        assert CONTENT[:cut] + rest.content == CONTENT


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 5100), last=st.integers(0, 5100))
async def test_any_range_is_the_slice(
    client: Client, exported: Exported, first: int, last: int
) -> None:
    answer = await client.get(exported.url, headers={"Range": f"bytes={first}-{last}"})
    if last < first:
        assert (answer.status_code, answer.content) == (200, CONTENT)
    elif first >= len(CONTENT):
        assert answer.status_code == 416
    else:
        assert (answer.status_code, answer.content) == (206, CONTENT[first : last + 1])


async def test_a_file_of_many_pieces(client: Client, store: Any, tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 17)
    made = export(tmp_path, content)
    store.put(made.manifest, **made.status)
    assert (await client.get(made.url)).content == content
    part = await client.get(made.url, headers={"Range": "bytes=100000-2100000"})
    assert part.content == content[100000:2100001]


async def test_the_file_is_read_where_the_system_can_t_tell_what_is_in_memory(
    client: Client, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "preadv", refuse)
    assert (await client.get(exported.url)).content == CONTENT


@pytest.mark.parametrize("phase", ["Pending", "Running", "Failed", "Cancelled"])
async def test_a_job_without_a_file(
    client: Client, store: Any, exported: Exported, phase: str
) -> None:
    store.put(exported.manifest, phase=phase)
    for method in ("GET", "HEAD"):
        answer = await client.request(method, exported.url)
        assert answer.status_code == 409
    assert (await client.get(exported.url)).json()["code"] == "job_not_completed"


async def test_another_replica_may_know_already_that_it_is_completed(
    client: Client, store: Any, exported: Exported
) -> None:
    completed = dict(store.resources[exported.job_id])
    store.put(exported.manifest, phase="Running")
    store.resources[exported.job_id] = completed
    assert (await client.get(exported.url)).content == CONTENT
    # Another one that has its name is another one.
    store.resources[exported.job_id] = {
        **completed,
        "metadata": {**completed["metadata"], "uid": another_id()},
    }
    assert (await client.get(exported.url)).status_code == 409


async def test_retention_is_over(client: Client, store: Any, exported: Exported) -> None:
    now = datetime.now(UTC)
    for shift, status in ((60, 200), (-1, 410)):
        expiration = timestamps.to_text(now + timedelta(seconds=shift))
        store.put(exported.manifest, **exported.status, expirationTime=expiration)
        answer = await client.get(exported.url)
        assert answer.status_code == status
    assert answer.json()["code"] == "artifact_gone"
    # The file is still there: it outlasts its retention while a delivery is pending.
    assert exported.file.exists()
    assert "it is removed, or about to be" in answer.json()["detail"]


async def test_the_file_has_been_removed(client: Client, exported: Exported) -> None:
    exported.file.unlink()
    answer = await client.get(exported.url)
    assert (answer.status_code, answer.json()["code"]) == (410, "artifact_gone")
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert (await client.head(exported.url)).status_code == 410


@pytest.mark.parametrize(
    ("claim", "status"), [(None, 200), ("exports-now", 200), ("exports-before", 501)]
)
async def test_a_file_on_another_volume_is_not_called_gone(
    make_client: Callable[..., Client],
    bearer: Callable[..., dict[str, str]],
    store: Any,
    exported: Exported,
    tmp_path: Path,
    claim: str | None,
    status: int,
) -> None:
    artifact = {**exported.status["artifact"], "claim": claim}
    store.put(exported.manifest, **{**exported.status, "artifact": artifact})
    async with make_client(EXPORTS_DIRECTORY=str(tmp_path), EXPORTS_CLAIM="exports-now") as client:
        client.headers.update(bearer())
        answer = await client.get(exported.url)
    assert answer.status_code == status
    if status == 501:
        assert answer.json()["code"] == "file_elsewhere"


async def test_other_methods_are_told_of_both(client: Client, exported: Exported) -> None:
    for method in ("POST", "OPTIONS", "DELETE"):
        answer = await client.request(method, exported.url)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_who_waits_for_a_file_costs_the_kubernetes_api_next_to_nothing(
    client: Client, store: Any, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    find_export, failure = store.find_export, None

    async def counted(name: str) -> Any:
        asked.append(name)
        if failure is not None:
            raise failure
        return await find_export(name)

    now = 1000.0
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(store, "find_export", counted)
    completed = dict(store.resources[exported.job_id])
    store.put(exported.manifest, phase="Running")
    for _ in range(20):
        assert (await client.get(exported.url)).status_code == 409
        assert (await client.head(exported.url)).status_code == 409
    assert len(asked) == 1
    now += 1.1
    failure = StoreUnavailableError("It does not answer.", "a test")
    for _ in range(20):
        answer = await client.get(exported.url)
        assert (answer.status_code, answer.json()["code"]) == (409, "job_not_completed")
    assert len(asked) == 2
    now += 1.1
    failure = None
    store.resources[exported.job_id] = completed
    # And it is found as soon as it is there, however often.
    for _ in range(3):
        assert (await client.get(exported.url)).status_code == 200


@pytest.mark.parametrize(
    "artifact",
    [
        {"path": "other/20260129T153000Z-0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e.sql.zst"},
        {"path": "../../etc/passwd"},
        {"path": "/etc/passwd"},
        {"sha256": "x"},
        {"sha256": 'a"\r\nX: y'},
    ],
    ids=str,
)
async def test_a_status_that_makes_no_sense_opens_nothing(
    client: Client, store: Any, exported: Exported, artifact: dict[str, str]
) -> None:
    status = {**exported.status, "artifact": {**exported.status["artifact"], **artifact}}
    store.put(exported.manifest, **status)
    answer = await client.get(exported.url)
    assert answer.status_code == 409
    # It is completed, and so it has no error.
    assert "Its error, if it has one, says why." in answer.json()["detail"]


async def test_other_projects_and_unknown_jobs_alike(
    client: Client, exported: Exported, bearer: Callable[..., dict[str, str]]
) -> None:
    client.headers.update(bearer(projects=["other"]))
    hidden = await client.get(exported.url)
    unknown = await client.get(f"/api/jobs/{another_id()}/download")
    odd = await client.get("/api/jobs/x/download")
    for answer in (hidden, unknown, odd):
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def test_nobody_without_a_token(client: Client, exported: Exported) -> None:
    del client.headers["Authorization"]
    answer = await client.get(exported.url)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_downloads_are_off_unless_there_is_a_volume(
    make_client: Callable[..., Client],
    bearer: Callable[..., dict[str, str]],
    exported: Exported,
) -> None:
    async with make_client() as client:
        client.headers.update(bearer())
        for answer in (await client.get(exported.url), await client.post(exported.link_url)):
            assert (answer.status_code, answer.json()["code"]) == (501, "downloads_disabled")
            assert "api.downloads.enabled" in answer.json()["detail"]
        del client.headers["Authorization"]
        assert (await client.get(exported.url)).status_code == 401


async def test_a_download_is_counted(client: Client, exported: Exported) -> None:
    await client.get(exported.url)
    await client.head(exported.url)
    await client.get(exported.url, headers={"Range": "bytes=0-99"})
    told = (await client.get("/metrics")).text
    assert 'backupexport_downloads_total{outcome="complete"} 2.0' in told
    assert "backupexport_download_sent_bytes_total 5100.0" in told
    assert "backupexport_downloads_under_way 0.0" in told


async def test_files_are_closed(client: Client, exported: Exported) -> None:
    for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=9999-"}, {"If-Match": '"x"'}):
        for method in ("GET", "HEAD"):
            await client.request(method, exported.url, headers=headers)
    async with asyncio.timeout(60):
        while times_open(exported.file):
            await asyncio.sleep(0.005)


async def test_the_log_knows_the_file_s_path_alone(
    client: Client, exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    exported.file.unlink()
    await client.get(exported.url)
    assert f"proj-123/{exported.file.name} is not on the volume: ENOENT" in caplog.text
