"""What a test asks an S3 server beside the program under test, with requests of its own."""

import hashlib
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode

import httpx
from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignedBodyHeaderType,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest
from playground.s3_server import KeyPair

_META = "x-amz-meta-"
# Some servers leave S3's namespace out.
_ANY = "{*}"
_SIGN_SECONDS = 10


@dataclass(frozen=True)
class StoredObject:
    """An object as HEAD tells of it; the names in `metadata` are without x-amz-meta-."""

    key: str
    size: int
    etag: str
    content_type: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Upload:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str


class S3Client:
    """Signs for `keys`; an answer that is none of 2xx raises httpx.HTTPStatusError."""

    def __init__(
        self, url: str, keys: KeyPair, region: str = "us-east-1", authority: str | None = None
    ) -> None:
        self._keys, self._region = keys, region
        verify = ssl.create_default_context(cadata=authority)
        self._http = httpx.Client(base_url=url, verify=verify, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def bucket(self, name: str) -> "Bucket":
        """A bucket that is there, or will be."""
        return Bucket(self, name)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer to a signed request; `path` and `query` are not yet encoded."""
        target = quote(path, safe="/-_.~")
        if query:
            target += "?" + urlencode(query, quote_via=quote, safe="-_.~")
        host = self._http.base_url.netloc.decode()
        unsigned = HttpRequest(
            method, target, HttpHeaders([("Host", host), *(headers or {}).items()])
        )
        signed = aws_sign_request(unsigned, self._signing(content)).result(_SIGN_SECONDS)
        answer = self._http.request(method, target, content=content, headers=list(signed.headers))
        return answer.raise_for_status()

    def _signing(self, content: bytes) -> AwsSigningConfig:
        return AwsSigningConfig(
            credentials_provider=AwsCredentialsProvider.new_static(
                self._keys.access_key_id, self._keys.secret_access_key
            ),
            region=self._region,
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=hashlib.sha256(content).hexdigest(),
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )


class Bucket:
    """A bucket, seen by one client."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._client, self.name = client, name

    def make(self) -> Self:
        """Make it; there must be none of its name."""
        self._client.request("PUT", f"/{self.name}")
        return self

    def set_policy(self, policy: str) -> None:
        """Give it the policy, a JSON document."""
        self._client.request("PUT", f"/{self.name}", {"policy": ""}, content=policy.encode())

    def put(self, key: str, content: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Put an object there as a whole."""
        headers = {f"{_META}{name}": value for name, value in (metadata or {}).items()}
        self._client.request("PUT", f"/{self.name}/{key}", content=content, headers=headers)

    def get(self, key: str) -> bytes:
        """An object's content."""
        return self._client.request("GET", f"/{self.name}/{key}").content

    def copy(self, source: str, key: str) -> None:
        """Copy an object within the bucket."""
        headers = {"x-amz-copy-source": quote(f"/{self.name}/{source}", safe="/-_.~")}
        self._client.request("PUT", f"/{self.name}/{key}", headers=headers)

    def delete(self, key: str) -> None:
        """Remove an object; it need not be there."""
        self._client.request("DELETE", f"/{self.name}/{key}")

    def keys(self, prefix: str = "") -> list[str]:
        """The names of all objects, sorted."""
        query = {"list-type": "2", "prefix": prefix}
        found = []
        for page in self._pages(query, {"continuation-token": "NextContinuationToken"}):
            found += [_text(one, "Key") for one in page.findall(f"{_ANY}Contents")]
        return sorted(found)

    def objects(self, prefix: str = "") -> list[StoredObject]:
        """All objects with what is known of each, sorted by name."""
        return [self.head(key) for key in self.keys(prefix)]

    def head(self, key: str) -> StoredObject:
        """What is known of an object."""
        told = self._client.request("HEAD", f"/{self.name}/{key}").headers
        return StoredObject(
            key=key,
            size=int(told["content-length"]),
            etag=told["etag"].strip('"'),
            content_type=told.get("content-type", ""),
            metadata={
                name.lower().removeprefix(_META): value
                for name, value in told.items()
                if name.lower().startswith(_META)
            },
        )

    def uploads(self) -> list[Upload]:
        """Multipart uploads that have begun and not ended, sorted."""
        markers = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
        found = [
            Upload(_text(one, "Key"), _text(one, "UploadId"))
            for page in self._pages({"uploads": ""}, markers)
            for one in page.findall(f"{_ANY}Upload")
        ]
        return sorted(found, key=lambda one: (one.key, one.upload_id))

    def begin_upload(self, key: str) -> Upload:
        """A multipart upload that somebody has left."""
        answer = self._client.request("POST", f"/{self.name}/{key}", {"uploads": ""})
        return Upload(key, _text(ET.fromstring(answer.content), "UploadId"))

    def put_part(self, upload: Upload, number: int, content: bytes) -> None:
        """A part of such an upload."""
        query = {"partNumber": str(number), "uploadId": upload.upload_id}
        self._client.request("PUT", f"/{self.name}/{upload.key}", query, content=content)

    def _pages(self, query: dict[str, str], markers: dict[str, str]) -> Iterator[ET.Element]:
        while True:
            answer = self._client.request("GET", f"/{self.name}", query)
            page = ET.fromstring(answer.content)
            yield page
            if _text(page, "IsTruncated") != "true":
                return
            query = query | {asked: _text(page, told) for asked, told in markers.items()}


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{_ANY}{name}") or ""
