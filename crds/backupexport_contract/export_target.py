"""ExportTarget as a typed model: the one home of its fields (BackupExport: `backup_export`)."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from backupexport_contract.backup_export import TargetExcludes
from backupexport_contract.deliveries import Deliveries, Port, SecretReference
from backupexport_contract.fields import CEL_KEY, Bytes, ProjectId, Recipients, Seconds
from backupexport_contract.kubernetes_model import Condition, KubernetesModel, ObjectMeta
from backupexport_contract.storages import StorageName

_HOSTS = r"^[A-Za-z0-9_:]([A-Za-z0-9_:.%,-]*[A-Za-z0-9_:.])?$"
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


_ONE_SSLMODE: JsonDict = {
    "rule": "!has(self.sslmode) || !has(self.connection) || !has(self.connection.sslmode)"
    " || self.sslmode == self.connection.sslmode",
    "message": "sslmode and connection.sslmode differ: say it once",
}
# https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data
SecretKey = Annotated[str, Field(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class SecretKeys(KubernetesModel):
    """Names of the Secret's keys, where they differ from Service Binding and CloudNativePG."""

    uri: SecretKey | None = None
    """The key that holds a whole connection URI."""
    host: SecretKey | None = None
    """The key that holds the host."""
    port: SecretKey | None = None
    """The key that holds the port."""
    username: SecretKey | None = None
    """The key that holds the user's name."""
    password: SecretKey | None = None
    """The key that holds the password."""
    database: SecretKey | None = None
    """The key that holds the database's name."""
    sslmode: SecretKey | None = None
    """The key that holds libpq's sslmode."""
    sslrootcert: SecretKey | None = None
    """The key that holds the certificate authority's certificates in PEM."""
    sslcert: SecretKey | None = None
    """The key that holds the client's certificate in PEM."""
    sslkey: SecretKey | None = None
    """The key that holds the private key of the client's certificate in PEM."""


class TargetConnection(KubernetesModel):
    """Parts of the connection that are no secret; each wins over the Secret's."""

    host: str | None = Field(default=None, min_length=1, max_length=1024, pattern=_HOSTS)
    """The host's name or address; several with commas between."""
    port: Port | None = None
    """The port."""
    database: str | None = Field(default=None, min_length=1, max_length=63)
    """The database's name."""
    sslmode: SslMode | None = None
    """libpq's sslmode."""
    target_session_attrs: (
        Literal["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] | None
    ) = None
    """Which of several hosts is taken: libpq's target_session_attrs."""


_QUANTITY: JsonDict = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|"
    r"([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
}
Quantities = Annotated[
    dict[str, int | str],
    Field(json_schema_extra={"type": "object", "additionalProperties": _QUANTITY}),
]


class ResourceRequirements(KubernetesModel):
    """The runner container's resources, as in a Pod."""

    requests: Quantities | None = None
    """What the scheduler sets aside."""
    limits: Quantities | None = None
    """What the container may use at most."""


class TargetEncryption(KubernetesModel):
    """To whom every export of the project is encrypted, by age (https://age-encryption.org/v1)."""

    recipients: Recipients | None = None
    """Recipients of age: age1…, or public keys ssh-ed25519 … or ssh-rsa …; an export's encryptTo
    adds others."""
    required: bool = False
    """Whether exports without any recipient are refused."""


class ExportTargetSpec(TargetExcludes, KubernetesModel):
    """A project, and where its database is."""

    model_config = ConfigDict(json_schema_extra={CEL_KEY: [_ONE_SSLMODE]})

    project_id: ProjectId
    """The project that this target serves."""
    secret_ref: SecretReference
    """A Secret with the keys of a Service Binding or of CloudNativePG."""
    keys: SecretKeys | None = None
    """Other names for the Secret's keys."""
    connection: TargetConnection | None = None
    """Parts of the connection that are no secret, in the clear."""
    sslmode: SslMode | None = None
    """The same as connection.sslmode."""
    sslrootcert: str | None = Field(default=None, max_length=262144)
    """Certificates in PEM that the server's certificate must descend from."""
    suspend: bool = False
    """Whether new exports of this project are held back."""
    max_concurrent: int = Field(default=1, ge=1, le=100)
    """How many exports of this project may run at once; the next ones wait for their turn."""
    queue_name: str | None = Field(default=None, min_length=1, max_length=63, pattern=_DNS_LABEL)
    """Kueue's LocalQueue for this project's Jobs; the chart's unless given."""
    active_deadline_seconds: Seconds | None = None
    """How long an export of this project may take, in seconds, unless the export says."""
    retention_seconds: Seconds | None = None
    """How long this project's finished exports are kept, in seconds, unless the export says."""
    max_bytes: Bytes | None = None
    """The largest file that an export of this project may make, in bytes; else the chart's."""
    max_stored_bytes: Bytes | None = None
    """How much the files of all this project's exports may take, in bytes; else the chart's."""
    storage: StorageName | None = None
    """Which of the chart's storages has the files of this project's exports; default unless
    given."""
    encryption: TargetEncryption | None = None
    """To whom this project's exports are encrypted."""
    resources: ResourceRequirements | None = None
    """Resources of this project's runner containers; the chart's unless given."""
    deliveries: Deliveries | None = None
    """How this project's exports reach their owners; each kind is the chart's unless given."""


class ExportTargetStatus(KubernetesModel):
    """Written by the operator alone."""

    observed_generation: int | None = None
    """The metadata.generation that this status was computed from."""
    conditions: list[Condition] = Field(default_factory=list)
    """Ready, StorageReady, and ServerVerified, which the newest export tells."""


# Of `kubectl get`: name, type, JSON path, and 1 where `-o wide` alone shows it, else 0.
PRINTER_COLUMNS = (
    ("Project", "string", ".spec.projectId", 0),
    ("Secret", "string", ".spec.secretRef.name", 0),
    ("Suspended", "boolean", ".spec.suspend", 0),
    ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status", 0),
    ("Storage", "string", ".status.conditions[?(@.type=='StorageReady')].status", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


class ExportTarget(KubernetesModel):
    """A project and where its database is."""

    metadata: ObjectMeta
    spec: ExportTargetSpec
    status: ExportTargetStatus = ExportTargetStatus()
