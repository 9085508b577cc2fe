"""Buckets, as who reads, signs, checks or removes in one speaks to them: by obstore.

Credentials are the files of a storage's Secret, which change while the process lives (`Bucket`).
Where there are none, obstore finds the pod's own identity, in the environment's variables or at the
cloud's metadata service.
"""

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore.store
from backupexport_contract.storages import AzureStorage, GcsStorage, S3Storage, Storage

# As much as a whole Secret may hold (https://kubernetes.io/docs/concepts/configuration/secret/).
_MOST_BYTES = 1024 * 1024
_SECONDS_BETWEEN_READS = 1.0
_MOST_READS = 5
_LONGEST_CODE = 64

Store = obstore.store.S3Store | obstore.store.GCSStore | obstore.store.AzureStore
Credentials = Mapping[str, str]


class CredentialsError(Exception):
    """The storage's Secret can't be used; the text says why, without a value of it."""


class NoKeysError(CredentialsError):
    """The storage has a Secret, and none of its keys is there (yet)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is waited for and made again, in seconds."""

    connect: float = 5.0
    request: float = 60.0
    retries: int = 5
    retrying: float = 60.0


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error of a request says: the answer's HTTP status and code, where there was one.

    `message` is what the server or the client says of it, of any length and with anything in it.
    """

    status: int | None
    code: str
    message: str


@dataclass
class Bucket:
    """A storage's bucket with the credentials that its Secret has at the time.

    `directory` has the Secret's keys as files.  `is_public` is for URLs that clients use, at the
    storage's `publicEndpoint`.  `has_secret` is for settings that don't name their Secret.  May be
    used by several threads.
    """

    storage: Storage
    directory: Path
    patience: Patience = field(default_factory=Patience)
    is_public: bool = False
    has_secret: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _read_at: float = field(default=float("-inf"), init=False, repr=False)
    _credentials: Credentials | None = field(default=None, init=False, repr=False)
    _store: Store | None = field(default=None, init=False, repr=False)

    @property
    def credentials(self) -> Credentials:
        """The Secret's values by key, at most a second old.  Raises CredentialsError."""
        with self._lock:
            return self._read()

    @property
    def store(self) -> Store:
        """An obstore store whose paths are below the prefix.  Raises CredentialsError."""
        with self._lock:
            before = self._credentials
            credentials = self._read()
            if self._store is None or credentials != before:
                self._store = open_store(
                    self.storage, credentials, self.patience, is_public=self.is_public
                )
            return self._store

    def _read(self) -> Credentials:
        if self._credentials is None or time.monotonic() - self._read_at > _SECONDS_BETWEEN_READS:
            found = read_credentials(self.storage, self.directory, has_secret=self.has_secret)
            if found != self._credentials:
                self._store = None
            self._credentials, self._read_at = found, time.monotonic()
        return self._credentials


def read_credentials(storage: Storage, directory: Path, *, has_secret: bool = False) -> Credentials:
    """Returns the values of the Secret's keys, none where there is no Secret.

    Raises CredentialsError, of a Secret without a key NoKeysError.
    """
    for _ in range(_MOST_READS):
        version = _version(directory)
        found = _read_keys(storage, version)
        # A version that was replaced meanwhile may have lost some of its keys already.
        if _version(directory) == version:
            break
    if not found and (has_secret or storage.secret_ref is not None):
        raise NoKeysError("none of the keys " + ", ".join(storage.secret_keys) + " is there")
    _require_whole(storage, found)
    return found


def _version(directory: Path) -> Path:
    """Returns where the files of one version of the Secret are: the kubelet swaps a link to it.

    It is `..data` at the volume's root; what stands there for a directory below is a link into it.
    """
    data = directory / "..data"
    return (data if data.exists() else directory).resolve()


def _read_keys(storage: Storage, directory: Path) -> dict[str, str]:
    found = {}
    for key in storage.secret_keys:
        try:
            with (directory / key).open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CredentialsError(f"its key {key} can't be read ({error.strerror})") from None
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:
            text = ""
        if not text or "\0" in text or len(content) > _MOST_BYTES:
            raise CredentialsError(f"its key {key} holds no text in UTF-8")
        found[key] = text
    return found


def _require_whole(storage: Storage, found: Credentials) -> None:
    """Raises CredentialsError where a key is of no use without another one."""
    together: tuple[str, ...] = ()
    if storage.s3 is not None:
        together = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        if "AWS_SESSION_TOKEN" in found and together[0] not in found:
            raise CredentialsError(f"it has AWS_SESSION_TOKEN, but no {together[0]}")
    elif storage.azure is not None and "AZURE_CLIENT_SECRET" in found:
        together = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    has, lacks = ([key for key in together if (key in found) is wanted] for wanted in (True, False))
    if has and lacks:
        raise CredentialsError(f"it has {has[0]}, but no {lacks[0]}")
    if (account := found.get("service_account.json")) is not None:
        try:
            is_account = isinstance(json.loads(account), dict)
        except (ValueError, RecursionError):
            is_account = False
        if not is_account:
            raise CredentialsError("its key service_account.json holds no JSON object")


def open_store(
    storage: Storage,
    credentials: Credentials,
    patience: Patience | None = None,
    *,
    is_public: bool = False,
) -> Store:
    """Returns an obstore store; no request is made.  Raises CredentialsError.

    Raises ValueError for a volume.
    """
    bucket = storage.bucket
    if bucket is None:
        raise ValueError("a volume is no bucket")
    options: dict[str, Any] = {
        "prefix": bucket.prefix,
        "client_options": _client_options(storage, patience or Patience(), is_public=is_public),
        "retry_config": _retry_options(patience or Patience()),
    }
    try:
        if isinstance(bucket, S3Storage):
            return _s3_store(bucket, credentials, options, is_public=is_public)
        if isinstance(bucket, GcsStorage):
            return _gcs_store(bucket, credentials, options)
        assert isinstance(bucket, AzureStorage)  # noqa: S101 - the last kind
        return _azure_store(bucket, credentials, options)
    except (obstore.exceptions.BaseError, ValueError) as error:
        # What the library says of it may have the value in it.
        raise CredentialsError(
            f"the credentials or settings can't be used ({type(error).__name__})"
        ) from None


def s3_url(bucket: S3Storage, *, is_public: bool = False) -> str:
    """Returns the URL of the bucket itself, without a slash at its end."""
    endpoint, is_in_path = _s3_endpoint(bucket, is_public=is_public)
    return f"{endpoint}/{bucket.bucket}" if is_in_path else endpoint


def _s3_endpoint(bucket: S3Storage, *, is_public: bool) -> tuple[str, bool]:
    """Returns the URL below which keys are, and whether these begin with the bucket's name."""
    endpoint = (is_public and bucket.public_endpoint) or bucket.endpoint
    # No certificate is for names with further dots: https://docs.aws.amazon.com/AmazonS3/latest/
    # userguide/VirtualHosting.html#VirtualHostingLimitations.
    is_in_path = bucket.path_style or (endpoint is None and "." in bucket.bucket)
    if endpoint is None:
        suffix = ".cn" if bucket.region.startswith("cn-") else ""
        endpoint = f"https://s3.{bucket.region}.amazonaws.com{suffix}"
    endpoint = endpoint.rstrip("/")
    if is_in_path:
        return endpoint, True
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{bucket.bucket}.{rest}", False


def _s3_store(
    bucket: S3Storage, credentials: Credentials, options: dict[str, Any], *, is_public: bool
) -> Store:
    endpoint, is_in_path = _s3_endpoint(bucket, is_public=is_public)
    settings: dict[str, Any] = {
        "endpoint": endpoint,
        "virtual_hosted_style_request": not is_in_path,
        "region": bucket.region,
        "checksum_algorithm": "SHA256",
        # Several servers don't know it, and few objects go at a time.
        "disable_bulk_delete": True,
    }
    settings |= _given(
        access_key_id=credentials.get("AWS_ACCESS_KEY_ID"),
        secret_access_key=credentials.get("AWS_SECRET_ACCESS_KEY"),
        session_token=credentials.get("AWS_SESSION_TOKEN"),
        server_side_encryption=bucket.server_side_encryption,
        sse_kms_key_id=bucket.kms_key_id,
    )
    return obstore.store.S3Store(bucket.bucket, config=settings, **options)  # type: ignore[arg-type]


def _gcs_store(bucket: GcsStorage, credentials: Credentials, options: dict[str, Any]) -> Store:
    settings = _given(
        service_account_key=credentials.get("service_account.json"), base_url=bucket.endpoint
    )
    return obstore.store.GCSStore(bucket.bucket, config=settings, **options)  # type: ignore[arg-type]


def _azure_store(bucket: AzureStorage, credentials: Credentials, options: dict[str, Any]) -> Store:
    settings = {"account_name": bucket.account} | _given(
        endpoint=bucket.endpoint,
        account_key=credentials.get("AZURE_STORAGE_ACCOUNT_KEY"),
        sas_key=credentials.get("AZURE_STORAGE_SAS_TOKEN", "").removeprefix("?") or None,
        tenant_id=credentials.get("AZURE_TENANT_ID"),
        client_id=credentials.get("AZURE_CLIENT_ID"),
        client_secret=credentials.get("AZURE_CLIENT_SECRET"),
    )
    # Before an identity that the pod has besides.
    kinds = {"account_key": "access_key", "sas_key": "sas_token", "client_secret": "client_secret"}
    if kind := next((kinds[name] for name in kinds if name in settings), None):
        settings["credential_type"] = kind
    return obstore.store.AzureStore(bucket.container, config=settings, **options)  # type: ignore[arg-type]


def _client_options(storage: Storage, patience: Patience, *, is_public: bool) -> dict[str, Any]:
    bucket = storage.bucket
    endpoint = getattr(bucket, "endpoint", None)
    if is_public:
        endpoint = getattr(bucket, "public_endpoint", None) or endpoint
    options = {
        "connect_timeout": timedelta(seconds=patience.connect),
        "timeout": timedelta(seconds=patience.request),
        "allow_http": bool(endpoint) and str(endpoint).startswith("http://"),
    }
    return options | _given(root_certificate=storage.ca_certificates)


def _retry_options(patience: Patience) -> dict[str, Any]:
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.retrying),
        "backoff": {
            "init_backoff": timedelta(seconds=0.2),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }


def _given(**settings: str | None) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


# As obstore spells them: "... non-2xx status code: 403 Forbidden: <?xml ...><Code>...</Code>".
_STATUS = re.compile(r"status code: (\d{3})\b")
_CODE = re.compile(rf"<Code>\s*(\w{{1,{_LONGEST_CODE}}})\s*</Code>")
_MESSAGE = re.compile(r"<Message>\s*(.*?)\s*</Message>", re.DOTALL)


def problem_of(error: Exception) -> Problem:
    """Returns what an exception of obstore says."""
    text = str(error).partition("Debug source:")[0]
    status, code, message = (shape.search(text) for shape in (_STATUS, _CODE, _MESSAGE))
    return Problem(
        int(status[1]) if status else None,
        code[1] if code else "",
        message[1] if message else text,
    )
