"""Where finished files are kept: the kinds of storage and their settings, as the chart has them.

An attribute of `Storage` is a kind.  A volume is mounted; a bucket is spoken to, by the runner and,
for downloads, by the api.  Nothing else knows the kinds.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from backupexport_contract.deliveries import SecretReference
from backupexport_contract.kubernetes_model import KubernetesModel

DEFAULT_NAME = "default"
"""The storage of an ExportTarget that names none: the chart's volume unless `storages` has it."""

STORAGE_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
StorageName = Annotated[str, Field(min_length=1, max_length=63, pattern=STORAGE_NAME)]

# S3, Google Cloud Storage; https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
# and older ones with capitals and underscores.
_BUCKET = r"^[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]$"
_CONTAINER = r"^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$"
_ACCOUNT = r"^[a-z0-9]{3,24}$"
# A directory of the bucket, as a storage path: no empty segment, none of dots alone.
_PREFIX = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
_ENDPOINT = r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$"

Prefix = Annotated[str, Field(min_length=1, max_length=255, pattern=_PREFIX)]
Endpoint = Annotated[str, Field(min_length=1, max_length=512, pattern=_ENDPOINT)]
BucketName = Annotated[str, Field(pattern=_BUCKET)]


class VolumeStorage(KubernetesModel):
    """A volume; one directory of it for each project."""

    claim: Annotated[
        str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    ]
    """The PersistentVolumeClaim, in the release's namespace."""


class Bucket(KubernetesModel):
    """What the kinds of bucket have in common."""

    scheme: ClassVar[str]
    """How its URLs begin."""
    secret_keys: ClassVar[tuple[str, ...]]
    """The keys that its Secret may have; whoever reads or writes it gets no other, as files."""

    prefix: Prefix | None = None
    """A directory of the bucket, below which all files are."""
    endpoint: Endpoint | None = None
    """The server's URL; the cloud's own unless given."""
    former_endpoints: list[Endpoint] | None = None
    """Other URLs of the same server, at which files were written that are still to be found."""

    @property
    def place(self) -> str:
        """The bucket's name in its URLs."""
        raise NotImplementedError


class S3Storage(Bucket):
    """A bucket of Amazon S3, or of what speaks its protocol."""

    scheme: ClassVar[str] = "s3"
    secret_keys: ClassVar[tuple[str, ...]] = (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    )

    bucket: BucketName
    """The bucket's name."""
    region: str = Field(default="us-east-1", pattern=r"^[A-Za-z0-9-]{1,64}$")
    """The bucket's region; other servers than Amazon's mostly take us-east-1, R2 takes auto."""
    endpoint: Endpoint | None = None
    """The server's URL, such as https://minio.example.com; Amazon's of the region unless given."""
    public_endpoint: Endpoint | None = None
    """Where clients reach the server, for their downloads, if it is another URL."""
    path_style: bool = False
    """Whether the bucket's name stands in the path, as most servers but Amazon's want it."""
    server_side_encryption: Literal["AES256", "aws:kms"] | None = None
    """How the server encrypts what it stores; as the bucket is configured unless given."""
    kms_key_id: str | None = Field(default=None, min_length=1, max_length=2048)
    """The key of aws:kms; the account's own unless given."""

    @property
    def place(self) -> str:
        """The bucket's name."""
        return self.bucket


class GcsStorage(Bucket):
    """A bucket of Google Cloud Storage."""

    scheme: ClassVar[str] = "gs"
    secret_keys: ClassVar[tuple[str, ...]] = ("service_account.json",)

    bucket: BucketName
    """The bucket's name."""

    @property
    def place(self) -> str:
        """The bucket's name."""
        return self.bucket


class AzureStorage(Bucket):
    """A container of Azure Blob Storage."""

    scheme: ClassVar[str] = "az"
    secret_keys: ClassVar[tuple[str, ...]] = (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
    )

    account: str = Field(pattern=_ACCOUNT)
    """The storage account's name."""
    container: str = Field(pattern=_CONTAINER)
    """The container's name."""

    @property
    def place(self) -> str:
        """Account and container."""
        return f"{self.account}/{self.container}"


class Storage(KubernetesModel):
    """A place where finished files are kept: exactly one of its kinds."""

    model_config = ConfigDict(extra="forbid")

    volume: VolumeStorage | None = None
    """A volume."""
    s3: S3Storage | None = None
    """A bucket of Amazon S3, or of what speaks its protocol."""
    gcs: GcsStorage | None = None
    """A bucket of Google Cloud Storage."""
    azure: AzureStorage | None = None
    """A container of Azure Blob Storage."""
    secret_ref: SecretReference | None = None
    """The Secret with a bucket's credentials, in the release's namespace; unless given, the pods'
    own identity has to do (annotations of their ServiceAccounts). Only the pods that write, check,
    remove and sign see it."""
    ca_certificates: str | None = Field(default=None, max_length=65536)
    """Certificates in PEM that a bucket's server's may descend from, besides the system's."""
    downloads: Literal["redirect", "stream"] = "redirect"
    """How clients get files of a bucket: redirect sends them to it, with a URL that is good for
    urlSeconds; stream passes the file through the api, where clients can't reach the bucket."""
    url_seconds: int = Field(default=300, ge=10, le=3600)
    """How long such a URL is good, in seconds."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of {', '.join(KINDS)}")
        if self.volume and (self.secret_ref or self.ca_certificates):
            raise ValueError("a volume has neither secretRef nor caCertificates")
        return self

    @property
    def bucket(self) -> Bucket | None:
        """The bucket; None for a volume."""
        return self.s3 or self.gcs or self.azure

    @property
    def root(self) -> str:
        """Where it is, the same for whoever is asked: a bucket's URL, or a volume's claim."""
        if self.volume is not None:
            return self.volume.claim
        bucket = self.bucket
        assert bucket is not None  # noqa: S101 - of one kind
        return "/".join(filter(None, (f"{bucket.scheme}://{bucket.place}", bucket.prefix)))

    @property
    def endpoint(self) -> str | None:
        """The URL of a bucket's server; None for the cloud's own, and for a volume.

        Buckets of two servers may have one `root`.
        """
        return self.bucket.endpoint if self.bucket else None

    def is_at(self, root: str, endpoint: str | None) -> bool:
        """Whether it is what was recorded under these, or by a former endpoint."""
        former = (self.bucket.former_endpoints if self.bucket else None) or ()
        return root == self.root and endpoint in (self.endpoint, *former)

    def url(self, path: str) -> str | None:
        """The URL of the file at `path`; None for a volume."""
        return None if self.volume else f"{self.root}/{path}"

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys that its Secret may have."""
        return self.bucket.secret_keys if self.bucket else ()


KINDS = ("volume", "s3", "gcs", "azure")

Storages = dict[StorageName, Storage]


def is_root_of_bucket(root: str) -> bool:
    """Whether a storage's `root` is that of a bucket, and no claim."""
    return "://" in root


def storage_text(name: str, storage: Storage) -> str:
    """What the runner gets of a storage: its name and settings as JSON, without its Secret's."""
    manifest: dict[str, Any] = storage.to_manifest()
    manifest.pop("secretRef", None)
    named = NamedStorage(
        name=name, storage=Storage(**manifest), has_secret=storage.secret_ref is not None or None
    )
    return named.model_dump_json(by_alias=True, exclude_none=True)


class NamedStorage(KubernetesModel):
    """A storage under its name, as the operator hands it to a runner."""

    name: StorageName
    storage: Storage
    has_secret: bool | None = None
    """Whether the storage has a Secret, without which no identity of the pod takes its place."""
