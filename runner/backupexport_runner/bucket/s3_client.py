"""Requests of S3's multipart uploads, which obstore can neither list nor abort.

Signed by awscrt, which also finds the pod's own identity where the Secret has no keys.
"""

import base64
import hashlib
import random
import re
import ssl
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignedBodyHeaderType,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.storages import S3Storage
from backupexport_runtime.buckets import Bucket, Problem, s3_url
from backupexport_runtime.tls import system_context

from backupexport_runner.bucket.failures import BucketErrors, RefusedFailure, kind_of
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.failure import Failure

# Before each further try, in seconds.
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_SLICE_BYTES = 256 * 1024
_SECONDS_TO_NOTICE = 0.2
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
# The server puts the parts together before it answers, and copies before it answers.
_LONG_TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=300.0)
# While SIGTERM waits for the process.
_HASTY_TIMEOUT = httpx.Timeout(0.7)
_SIGNING_SECONDS = 30.0
_MOST_ANSWER_BYTES = 4 * 1024 * 1024
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_CODE = re.compile(r"\w{1,64}")

Body = bytes | memoryview


class NoSuchUploadError(Exception):
    """The upload was completed or aborted, by whomever."""


class PreconditionError(Exception):
    """An object of the key is there already."""


class NotImplementedHereError(Exception):
    """The server doesn't know what was asked for."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is under way; `initiated_at` is a time of the clock CLOCK_BOOTTIME."""

    key: str
    upload_id: str
    initiated_at: float


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the server has; `sha256` is in Base64."""

    number: int
    etag: str
    sha256: str


@dataclass
class S3Client:
    """Requests below the bucket's prefix; each is made again where that may help.

    Methods raise Failure.  Once `is_hasty`, because the process has been asked to stop, nothing is
    waited for long.
    """

    bucket: Bucket
    s3: S3Storage
    errors: BucketErrors
    is_hasty: Callable[[], bool]
    pauses: Sequence[float] = PAUSES
    clock_ahead: float = field(default=0.0, init=False)
    """How much the server's clock said more than the node's when it answered last, in seconds."""
    _default_chain: AwsCredentialsProvider | None = field(default=None, init=False)

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Trusts the system's authorities and the storage's.  Raises Failure."""
        context = system_context()
        certificates = self.bucket.storage.ca_certificates
        try:
            if certificates:
                context.load_verify_locations(cadata=certificates)
        except (ssl.SSLError, ValueError):
            words = "caCertificates of the storage holds no certificate in PEM"
            raise self.errors.failure(Problem(None, "", words), "connect") from None
        return context

    @cached_property
    def _http(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
        return httpx.Client(verify=self.tls, timeout=_TIMEOUT, trust_env=False, limits=limits)

    def close(self) -> None:
        """Ends the connections."""
        if "_http" in self.__dict__:
            self._http.close()

    def create_upload(self, key: str, headers: Mapping[str, str]) -> tuple[str, bool]:
        """Returns the id of a new upload, and whether an earlier try may have made another one."""
        tries = 0

        def counted() -> None:
            nonlocal tries
            tries += 1

        answer = self._request(
            "begin an upload (s3:PutObject)",
            "POST",
            key,
            "uploads=",
            headers={"x-amz-checksum-algorithm": "SHA256", **headers, **self._encryption},
            before=counted,
        )
        return _text(_xml(answer), "UploadId"), tries > 1

    def send_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        content: memoryview,
        check: Callable[[], None],
    ) -> SentPart:
        """Returns the part once the server has it.  Raises NoSuchUploadError.

        `check` is called time and again, and may raise Failure.
        """
        digest = hashlib.sha256(content)
        told = _base64(digest.digest())
        answer = self._request(
            "write (s3:PutObject)",
            "PUT",
            key,
            f"partNumber={number}&uploadId={_quoted(upload_id)}",
            body=content,
            digest=digest.hexdigest(),
            headers={"x-amz-checksum-sha256": told},
            check=check,
        )
        return SentPart(number, answer.headers.get("ETag", ""), told)

    def complete_upload(
        self, key: str, upload_id: str, parts: Sequence[SentPart], *, is_new: bool
    ) -> httpx.Response:
        """Makes the parts the object; `is_new` refuses to replace one.

        Raises NoSuchUploadError, PreconditionError, NotImplementedHereError.
        """
        root = ET.Element("CompleteMultipartUpload")
        for part in parts:
            element = ET.SubElement(root, "Part")
            ET.SubElement(element, "PartNumber").text = str(part.number)
            ET.SubElement(element, "ETag").text = part.etag
            ET.SubElement(element, "ChecksumSHA256").text = part.sha256
        return self._request(
            "complete an upload (s3:PutObject)",
            "POST",
            key,
            f"uploadId={_quoted(upload_id)}",
            body=ET.tostring(root),
            headers={"If-None-Match": "*"} if is_new else {},
            timeout=_LONG_TIMEOUT,
        )

    def copy_in_place(self, key: str, headers: Mapping[str, str], etag: str) -> None:
        """Gives the object other metadata."""
        source = quote(f"/{self.s3.bucket}/{self._full(key)}")
        self._request(
            "write (s3:PutObject)",
            "PUT",
            key,
            "",
            headers={
                "x-amz-copy-source": source,
                "x-amz-copy-source-if-match": etag,
                "x-amz-metadata-directive": "REPLACE",
                **headers,
                **self._encryption,
            },
            timeout=_LONG_TIMEOUT,
            # Nothing depends on it, and some servers can't copy an object of parts.
            is_tried_once=True,
        )

    def abort_upload(self, key: str, upload_id: str) -> bool:
        """Returns whether nothing of the upload is left."""
        query = f"uploadId={_quoted(upload_id)}"
        action = "abort an upload (s3:AbortMultipartUpload)"
        for _ in range(3):
            try:
                self._request(action, "DELETE", key, query, expected=(200, 204))
                # A part that was on its way may have come after the end.
                self._request("list parts (s3:ListMultipartUploadParts)", "GET", key, query)
            except NoSuchUploadError:
                return True
        return False

    def last_part_at(self, upload: Upload) -> float:
        """Returns when its last part came, a time as `initiated_at`; that if there is none.

        Raises NoSuchUploadError.
        """
        action = "list parts (s3:ListMultipartUploadParts)"
        last, marker = upload.initiated_at, ""
        while True:
            query = f"{marker}uploadId={_quoted(upload.upload_id)}"
            listed = _xml(self._request(action, "GET", upload.key, query))
            for element in listed.iter():
                if _name(element) == "Part":
                    last = max(last, self._clocked(_text(element, "LastModified")))
            after = f"part-number-marker={_quoted(_text(listed, 'NextPartNumberMarker'))}&"
            if _text(listed, "IsTruncated") != "true" or after == marker:
                return last
            marker = after

    def uploads(self, key: str) -> list[Upload]:
        """Returns what is being uploaded to this very key."""
        return [each for each in self.uploads_below(key) if each.key == key]

    def uploads_below(self, begin: str) -> Iterator[Upload]:
        """Yields what is being uploaded to keys that begin so."""
        action = "list uploads (s3:ListBucketMultipartUploads)"
        above = self._full("")
        markers = ""
        while True:
            prefix = f"uploads=&prefix={_quoted(self._full(begin))}{markers}"
            try:
                answer = self._request(action, "GET", None, prefix)
            except NoSuchUploadError:
                # How some servers say that there is none.
                return
            listed = _xml(answer)
            for element in listed.iter():
                if _name(element) == "Upload" and _text(element, "Key").startswith(above):
                    yield Upload(
                        _text(element, "Key").removeprefix(above),
                        _text(element, "UploadId"),
                        self._clocked(_text(element, "Initiated")),
                    )
            if _text(listed, "IsTruncated") != "true":
                return
            key_marker, id_marker = (
                _text(listed, name) for name in ("NextKeyMarker", "NextUploadIdMarker")
            )
            after = f"&key-marker={_quoted(key_marker)}&upload-id-marker={_quoted(id_marker)}"
            if after == markers:
                return
            markers = after

    def _clocked(self, text: str) -> float:
        """Returns a time of the server's as one of the clock CLOCK_BOOTTIME."""
        return seconds_now() - (time.time() + self.clock_ahead - _time(text))

    @property
    def _encryption(self) -> dict[str, str]:
        headers = {
            "x-amz-server-side-encryption": self.s3.server_side_encryption,
            "x-amz-server-side-encryption-aws-kms-key-id": self.s3.kms_key_id,
        }
        return {name: value for name, value in headers.items() if value is not None}

    def _full(self, key: str) -> str:
        return f"{self.s3.prefix}/{key}" if self.s3.prefix else key

    def _request(
        self,
        action: str,
        method: str,
        key: str | None,
        query: str,
        *,
        check: Callable[[], None] = lambda: None,
        **more: Any,
    ) -> httpx.Response:
        """Returns the answer, of one of the `expected` statuses; waits and tries again."""
        return self.errors.patiently(
            lambda: self._request_with_these_keys(action, method, key, query, check=check, **more),
            check,
        )

    def _request_with_these_keys(
        self,
        action: str,
        method: str,
        key: str | None,
        query: str,
        *,
        body: Body = b"",
        digest: str | None = None,
        headers: Mapping[str, str] | None = None,
        expected: Sequence[int] = (200,),
        timeout: httpx.Timeout = _TIMEOUT,
        is_tried_once: bool = False,
        before: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> httpx.Response:
        url = s3_url(self.s3) + (f"/{quote(self._full(key))}" if key is not None else "/")
        url += f"?{query}" if query else ""
        pauses = iter(() if is_tried_once else self.pauses)
        digest = digest or hashlib.sha256(body).hexdigest()
        while True:
            before()
            try:
                with self.errors.told(action):
                    signed = self._signed(method, url, digest, headers or {}, len(body))
                    answer = self._http.request(
                        method,
                        url,
                        headers=signed,
                        content=_slices(body, check),
                        timeout=_HASTY_TIMEOUT if self.is_hasty() else timeout,
                    )
                    problem = _problem(answer, expected)
                    self.clock_ahead = _server_time(answer) - time.time()
            except RefusedFailure:
                raise
            except Failure as error:
                failure = error
            else:
                if problem is None:
                    return answer
                _raise_for_caller(problem)
                failure = self.errors.failure(problem, action)
                if kind_of(problem) != "away":
                    raise failure
            pause = next(pauses, None)
            if failure.exit_code != ExitCode.STORAGE_FALTERING or pause is None:
                raise failure
            end = time.monotonic() + pause * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            while (left := end - time.monotonic()) > 0:
                check()
                if self.is_hasty():
                    raise failure
                time.sleep(min(left, _SECONDS_TO_NOTICE))

    def _signed(
        self, method: str, url: str, digest: str, headers: Mapping[str, str], length: int
    ) -> dict[str, str]:
        parts = urlsplit(url)
        listed = [("Host", parts.netloc), *headers.items()]
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        request = HttpRequest(method, path, HttpHeaders(listed))
        config = AwsSigningConfig(
            credentials_provider=self._provider(),
            region=self.s3.region,
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
            signed_body_value=digest,
        )
        try:
            aws_sign_request(request, config).result(timeout=_SIGNING_SECONDS)
        except (RuntimeError, FutureTimeoutError) as error:
            words = f"no credentials: {error or type(error).__name__}"
            raise self.errors.failure(Problem(None, "", words), "sign") from None
        return {**dict(request.headers), "Content-Length": str(length)}

    def _provider(self) -> AwsCredentialsProvider:
        found = self.bucket.credentials
        if all(key in found for key in _CREDENTIALS):
            return AwsCredentialsProvider.new_static(
                *(found[key] for key in _CREDENTIALS), found.get("AWS_SESSION_TOKEN")
            )
        if self._default_chain is None:
            self._default_chain = AwsCredentialsProvider.new_default_chain()
        return self._default_chain


def _slices(body: Body, check: Callable[[], None]) -> Iterator[Any]:
    view = memoryview(body)
    for at in range(0, len(view), _SLICE_BYTES):
        check()
        yield view[at : at + _SLICE_BYTES]


def _raise_for_caller(problem: Problem) -> None:
    """Raises what a caller knows how to go on with."""
    if problem.code == "NoSuchUpload":
        raise NoSuchUploadError
    if problem.status == 412 or problem.code == "PreconditionFailed":
        raise PreconditionError
    if problem.status == 501:
        raise NotImplementedHereError


def _problem(answer: httpx.Response, expected: Sequence[int]) -> Problem | None:
    """Returns what is wrong with the answer; an error may come after a good status, too."""
    content = answer.content[:_MOST_ANSWER_BYTES]
    if answer.status_code in expected and b"<Error" not in content[:4096]:
        return None
    try:
        root = ET.fromstring(content)  # noqa: S314 - expat refuses entities that grow
    except ET.ParseError:
        root = ET.Element("none")
    code = _text(root, "Code")
    status = 500 if answer.status_code in expected else answer.status_code
    return Problem(status, code if _CODE.fullmatch(code) else "", _text(root, "Message"))


def _xml(answer: httpx.Response) -> ET.Element:
    try:
        return ET.fromstring(answer.content[:_MOST_ANSWER_BYTES])  # noqa: S314
    except ET.ParseError:
        return ET.Element("none")


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ET.Element, name: str) -> str:
    """Returns the text of the child, with or without a namespace; empty if there is none."""
    return next((each.text or "" for each in element if _name(each) == name), "")


def _server_time(answer: httpx.Response) -> float:
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return time.time()


def _time(text: str) -> float:
    try:
        time_there = datetime.fromisoformat(text)
    except ValueError:
        # The older, so that it is taken for an earlier attempt's.
        return 0.0
    return (time_there if time_there.tzinfo else time_there.replace(tzinfo=UTC)).timestamp()


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
