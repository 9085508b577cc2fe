"""The S3 server that other tests trust, and what they ask it with."""

import json
from pathlib import Path

import httpx
import pytest
from certificate_authority import Authority
from playground.s3_server import KeyPair
from s3_client import Bucket, S3Client
from s3_server import KINDS, S3Server, s3_server

_PART_BYTES = 5 * 1024 * 1024


def _code(error: pytest.ExceptionInfo[httpx.HTTPStatusError]) -> tuple[int, str]:
    answer = error.value.response
    return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


def test_an_object_comes_back_as_it_went(s3_bucket: Bucket) -> None:
    s3_bucket.put("a project/x+y.sql", b"whole", {"sha256": "12"})
    s3_bucket.put("b", b"")
    assert s3_bucket.keys() == ["a project/x+y.sql", "b"]
    assert s3_bucket.keys("a") == ["a project/x+y.sql"]
    first, second = s3_bucket.objects()
    assert (first.size, first.metadata) == (5, {"sha256": "12"})
    assert (second.size, second.metadata) == (0, {})
    assert s3_bucket.get(first.key) == b"whole"
    s3_bucket.copy(first.key, "c")
    s3_bucket.delete(first.key)
    assert s3_bucket.keys() == ["b", "c"]
    assert s3_bucket.head("c").metadata == first.metadata


def test_what_an_upload_has_left_is_seen(s3_bucket: Bucket) -> None:
    one, other = s3_bucket.begin_upload("left/one"), s3_bucket.begin_upload("left/other")
    s3_bucket.put_part(one, 1, bytes(_PART_BYTES))
    assert s3_bucket.uploads() == [one, other]
    assert s3_bucket.objects() == []


def test_who_may_ask_is_told_from_others(s3_server: S3Server, s3_bucket: Bucket) -> None:
    stranger = KeyPair("nobody", s3_server.owner.secret_access_key)
    liar = KeyPair(s3_server.owner.access_key_id, "wrong")
    for keys, told in (
        (stranger, "InvalidAccessKeyId"), (liar, "SignatureDoesNotMatch"),
        (s3_server.user, "AccessDenied"),
    ):  # fmt: skip
        with S3Client(s3_server.url, keys) as client, pytest.raises(httpx.HTTPStatusError) as no:
            client.bucket(s3_bucket.name).put("a", b"")
        assert _code(no) == (403, told)


@pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)
def test_the_user_may_do_what_a_policy_allows(s3_server: S3Server, s3_bucket: Bucket) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [s3_server.user.access_key_id]},
        "Action": ["s3:PutObject"],
        "Resource": [f"arn:aws:s3:::{s3_bucket.name}/*"],
    }
    s3_bucket.set_policy(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    with S3Client(s3_server.url, s3_server.user) as client:
        seen = client.bucket(s3_bucket.name)
        seen.put("a", b"x")
        with pytest.raises(httpx.HTTPStatusError) as no:
            seen.get("a")
    assert _code(no) == (403, "AccessDenied")
    assert s3_bucket.get("a") == b"x"


def test_another_region_and_no_bucket_are_refused(s3_server: S3Server, s3_bucket: Bucket) -> None:
    with (
        S3Client(s3_server.url, s3_server.owner, region="eu-north-1") as client,
        pytest.raises(httpx.HTTPStatusError) as no,
    ):
        client.bucket(s3_bucket.name).put("a", b"")
    assert _code(no) == (400, "AuthorizationHeaderMalformed")
    with s3_server.client() as client, pytest.raises(httpx.HTTPStatusError) as no:
        client.bucket(f"{s3_bucket.name}-2").put("a", b"")
    assert _code(no) == (404, "NoSuchBucket")


@pytest.mark.parametrize("kind", KINDS)
def test_only_its_own_authority_vouches_for_it(kind: str, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "another")
    certificate = authority.issue("127.0.0.1")
    with s3_server(
        tmp_path / "server", kind, certificate=certificate, authority=authority.pem
    ) as server:
        with server.client() as client:
            client.bucket("with-tls").make().put("a", b"x")
        with (
            S3Client(server.url, server.owner, authority=stranger.pem) as client,
            pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            client.bucket("with-tls").get("a")
    with pytest.raises(httpx.ConnectError), server.client() as client:
        client.bucket("with-tls").get("a")
