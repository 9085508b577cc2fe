"""Why an export is not (yet) complete, and what an exit code of the runner stands for."""

from enum import IntEnum, StrEnum


class Phase(StrEnum):
    """`status.phase` of a BackupExport."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether the phase is final; a final phase never changes again."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


REST_STATUS = {phase: phase.lower() for phase in Phase} | {Phase.SUCCEEDED: "completed"}


class Reason(StrEnum):
    """`status.reason`: stable, for programs; the message beside it is for people."""

    TARGET_NOT_FOUND = "TargetNotFound"
    """Fails after 10 s: no ExportTarget has this `spec.projectId` in this namespace. `Pending`:
    the one that the export had is gone; it fails after `operator.targetPatienceSeconds`."""
    TARGET_SUSPENDED = "TargetSuspended"
    """`Pending`: `spec.suspend` of the ExportTarget."""
    STORAGE_NOT_FOUND = "StorageNotFound"
    """`Pending`: `spec.storage` of the ExportTarget, which the chart's `storages` don't have."""
    ENCRYPTION_REQUIRED = "EncryptionRequired"
    """Fails at once: the ExportTarget wants a recipient; name one in `encryptTo`, or there."""
    RECIPIENT_INVALID = "RecipientInvalid"
    """Fails at once: the recipient of `encryptTo` or of the ExportTarget that the message names."""
    SECRET_INVALID = "SecretInvalid"
    """`Pending` without the Secret, else fails at once: its name and keys; `spec.keys`."""
    CONNECTION_FAILED = "ConnectionFailed"
    """Tried again, then fails: host, port, network policies, `max_connections`."""
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    """Fails at once: user, password, `pg_hba.conf`; sslmode and certificates."""
    DATABASE_NOT_FOUND = "DatabaseNotFound"
    """Fails at once: the database's name in the Secret."""
    PERMISSION_DENIED = "PermissionDenied"
    """Fails at once: the user's rights on the object that the message names."""
    SERVER_VERSION_UNSUPPORTED = "ServerVersionUnsupported"
    """Fails at once: build the runner's image with a newer client."""
    DUMP_FAILED = "DumpFailed"
    """Tried again where it may heal, then fails: what to do and pg_dump's words: the message."""
    STORAGE_FULL = "StorageFull"
    """`Pending` below the reserve or at `maxStoredBytes`, else fails at once: claim, old files."""
    STORAGE_UNWRITABLE = "StorageUnwritable"
    """`Pending` until it is mounted and answers; tried again where it fails on the way, as when its
    server restarts; else fails at once."""
    OUT_OF_MEMORY = "OutOfMemory"
    """Tried again, then fails: the memory limit, `spec.resources` of the target or the chart's."""
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    """`Pending`: `runner.image.repository`, `runner.image.tag`, `imagePullSecrets`."""
    UNSCHEDULABLE = "Unschedulable"
    """`Pending`: room on the nodes, `runner.nodeSelector`, a quota or an admission rule."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """Fails: `activeDeadlineSeconds`; the message says how far it came."""
    CANCELLED = "Cancelled"
    """`Cancelled`: somebody cancelled it."""
    JOB_DELETED = "JobDeleted"
    """Fails: somebody deleted its Job."""
    INTERNAL = "Internal"
    """Tried again, or fails: the message; the pod's and the operator's logs."""


class DeliveryReason(StrEnum):
    """The reason of a delivery's condition, while it is under way and when it has ended."""

    PENDING = "Pending"
    """It is made as soon as possible."""
    IN_PROGRESS = "InProgress"
    """An attempt is under way."""
    SUCCEEDED = "Succeeded"
    """It was made."""
    NOT_CONFIGURED = "NotConfigured"
    """No `deliveries` of this kind in the chart or on the target, or the target is gone."""
    SECRET_INVALID = "SecretInvalid"
    """The Secret's name and keys: `username`, `password`; `token`, `chat_id`."""
    CONNECTION_FAILED = "ConnectionFailed"
    """Host, port, `tls`, `caCertificates`."""
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    """The login; the bot's token."""
    REFUSED = "Refused"
    """The other side won't take it: address, sender, chat, size."""
    DEFERRED = "Deferred"
    """The other side, or the volume, can't just now; it is tried again."""
    FILE_MISSING = "FileMissing"
    """The file is gone from the volume, or is another one."""
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    """The delivery's pod can't start, as an export's."""
    UNSCHEDULABLE = "Unschedulable"
    """The delivery's pod can't start, as an export's."""
    STORAGE_UNWRITABLE = "StorageUnwritable"
    """The delivery's pod can't start, as an export's."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """An attempt took too long, or never started."""
    INTERNAL = "Internal"
    """The message; the delivery's and the operator's logs."""


class ExitCode(IntEnum):
    """What the runner's process ends with.

    The codes stay clear of the shell's (1, 2, 126-128) and of 128+signal, so that a crash of the
    interpreter or a kill is never taken for a failure that the runner tells.
    """

    SUCCESS = 0
    """It did what it was asked for."""
    BAD_REQUEST = 20
    """What the operator hands over makes no sense to it: a bug, or two versions."""
    SECRET_INVALID = 21
    CONNECTION_FAILED = 22
    AUTHENTICATION_FAILED = 23
    DATABASE_NOT_FOUND = 24
    PERMISSION_DENIED = 25
    SERVER_VERSION_UNSUPPORTED = 26
    DUMP_FAILED = 27
    STORAGE_FULL = 28
    STORAGE_UNWRITABLE = 29
    INTERNAL = 30
    DELIVERY_REFUSED = 31
    DELIVERY_DEFERRED = 32
    FILE_MISSING = 33
    SECRET_MISSING = 34
    """The target's Secret isn't there, or has none of the keys that a target may have."""
    STORAGE_RESERVED = 35
    """The volume has less room free than what is reserved."""
    DUMP_REFUSED = 36
    """The server or pg_dump refuses the dump, and would again: the request or the data are why."""
    STORAGE_FALTERING = 37
    """The volume's storage fails, and may heal (EIO, ESTALE), as when its server restarts."""
    STORAGE_AWAY = 38
    """As 37, before an export has begun."""
    RECIPIENT_INVALID = 39
    """Nothing can be encrypted to a recipient that looks like one."""
    KILLED = 137
    """128 + SIGKILL: killed, by the kernel for its memory most often; or its pg_dump was."""
    INTERRUPTED = 143
    """It was told to stop (SIGTERM): tried again where the Job is."""


# A code that has a reason's name means that reason.
REASON_OF_EXIT_CODE: dict[int, Reason] = {
    int(code): Reason[code.name] for code in ExitCode if code.name in Reason.__members__
} | {
    ExitCode.BAD_REQUEST: Reason.INTERNAL,
    ExitCode.SECRET_MISSING: Reason.SECRET_INVALID,
    ExitCode.STORAGE_RESERVED: Reason.STORAGE_FULL,
    ExitCode.DUMP_REFUSED: Reason.DUMP_FAILED,
    ExitCode.STORAGE_FALTERING: Reason.STORAGE_UNWRITABLE,
    ExitCode.STORAGE_AWAY: Reason.STORAGE_UNWRITABLE,
}

DELIVERY_REASON_OF_EXIT_CODE: dict[int, DeliveryReason] = {
    int(code): DeliveryReason[code.name]
    for code in ExitCode
    if code.name in DeliveryReason.__members__
} | {
    ExitCode.BAD_REQUEST: DeliveryReason.INTERNAL,
    ExitCode.SECRET_MISSING: DeliveryReason.SECRET_INVALID,
    ExitCode.STORAGE_FULL: DeliveryReason.DEFERRED,
    ExitCode.STORAGE_UNWRITABLE: DeliveryReason.DEFERRED,
    ExitCode.STORAGE_FALTERING: DeliveryReason.DEFERRED,
    ExitCode.DELIVERY_REFUSED: DeliveryReason.REFUSED,
    ExitCode.DELIVERY_DEFERRED: DeliveryReason.DEFERRED,
}

# What a second attempt can't mend.  Everything else counts against the Job's backoffLimit:
# a server that restarts, a dump cut by a lost connection, a crash of the runner.
FATAL_EXIT_CODES = (
    ExitCode.BAD_REQUEST,
    ExitCode.SECRET_INVALID,
    ExitCode.AUTHENTICATION_FAILED,
    ExitCode.DATABASE_NOT_FOUND,
    ExitCode.PERMISSION_DENIED,
    ExitCode.SERVER_VERSION_UNSUPPORTED,
    ExitCode.STORAGE_FULL,
    ExitCode.STORAGE_UNWRITABLE,
    ExitCode.DUMP_REFUSED,
    ExitCode.RECIPIENT_INVALID,
)

# The attempt ended before it began, for want of what may come: it doesn't count, and the Job's
# controller waits longer before each new one, at most ten minutes.
NOT_YET_EXIT_CODES = (
    ExitCode.SECRET_MISSING,
    ExitCode.STORAGE_RESERVED,
    ExitCode.STORAGE_AWAY,
)

# What a second attempt of a delivery can't mend; everything else is tried again for some time.
FATAL_DELIVERY_EXIT_CODES = (
    ExitCode.BAD_REQUEST,
    ExitCode.SECRET_INVALID,
    ExitCode.AUTHENTICATION_FAILED,
    ExitCode.DELIVERY_REFUSED,
    ExitCode.FILE_MISSING,
)

# The reasons of deliveries that no failure keeps from going on.
WITHOUT_FAILURE = (DeliveryReason.PENDING, DeliveryReason.IN_PROGRESS)
