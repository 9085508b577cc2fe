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


REST_STATUS = {
    Phase.PENDING: "pending",
    Phase.RUNNING: "running",
    Phase.SUCCEEDED: "completed",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "cancelled",
}


class Reason(StrEnum):
    """`status.reason`: stable, for programs; the message beside it is for people."""

    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_SUSPENDED = "TargetSuspended"
    SECRET_INVALID = "SecretInvalid"
    CONNECTION_FAILED = "ConnectionFailed"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    DATABASE_NOT_FOUND = "DatabaseNotFound"
    PERMISSION_DENIED = "PermissionDenied"
    SERVER_VERSION_UNSUPPORTED = "ServerVersionUnsupported"
    DUMP_FAILED = "DumpFailed"
    STORAGE_FULL = "StorageFull"
    STORAGE_UNWRITABLE = "StorageUnwritable"
    OUT_OF_MEMORY = "OutOfMemory"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    UNSCHEDULABLE = "Unschedulable"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    CANCELLED = "Cancelled"
    JOB_DELETED = "JobDeleted"
    INTERNAL = "Internal"


class DeliveryReason(StrEnum):
    """The reason of a delivery's condition, while it is under way and when it has ended."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    NOT_CONFIGURED = "NotConfigured"
    SECRET_INVALID = "SecretInvalid"
    CONNECTION_FAILED = "ConnectionFailed"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    REFUSED = "Refused"
    DEFERRED = "Deferred"
    FILE_MISSING = "FileMissing"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    UNSCHEDULABLE = "Unschedulable"
    STORAGE_UNWRITABLE = "StorageUnwritable"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    INTERNAL = "Internal"


class ExitCode(IntEnum):
    """What the runner's process ends with.

    The codes stay clear of the shell's (1, 2, 126-128) and of 128+signal, so that a crash of
    the interpreter or a kill is never taken for a verdict of the runner.
    """

    SUCCESS = 0
    BAD_REQUEST = 20
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
    INTERRUPTED = 143


# 128 + SIGKILL: what a container ends with when the kernel kills it for its memory.  The runner
# ends with it, too, and with a message, when pg_dump was killed.
EXIT_OUT_OF_MEMORY = 137

REASON_OF_EXIT_CODE = {
    ExitCode.BAD_REQUEST: Reason.INTERNAL,
    ExitCode.SECRET_INVALID: Reason.SECRET_INVALID,
    ExitCode.CONNECTION_FAILED: Reason.CONNECTION_FAILED,
    ExitCode.AUTHENTICATION_FAILED: Reason.AUTHENTICATION_FAILED,
    ExitCode.DATABASE_NOT_FOUND: Reason.DATABASE_NOT_FOUND,
    ExitCode.PERMISSION_DENIED: Reason.PERMISSION_DENIED,
    ExitCode.SERVER_VERSION_UNSUPPORTED: Reason.SERVER_VERSION_UNSUPPORTED,
    ExitCode.DUMP_FAILED: Reason.DUMP_FAILED,
    ExitCode.STORAGE_FULL: Reason.STORAGE_FULL,
    ExitCode.STORAGE_UNWRITABLE: Reason.STORAGE_UNWRITABLE,
    ExitCode.INTERNAL: Reason.INTERNAL,
}

DELIVERY_REASON_OF_EXIT_CODE = {
    ExitCode.BAD_REQUEST: DeliveryReason.INTERNAL,
    ExitCode.SECRET_INVALID: DeliveryReason.SECRET_INVALID,
    ExitCode.CONNECTION_FAILED: DeliveryReason.CONNECTION_FAILED,
    ExitCode.AUTHENTICATION_FAILED: DeliveryReason.AUTHENTICATION_FAILED,
    ExitCode.STORAGE_FULL: DeliveryReason.DEFERRED,
    ExitCode.STORAGE_UNWRITABLE: DeliveryReason.DEFERRED,
    ExitCode.INTERNAL: DeliveryReason.INTERNAL,
    ExitCode.DELIVERY_REFUSED: DeliveryReason.REFUSED,
    ExitCode.DELIVERY_DEFERRED: DeliveryReason.DEFERRED,
    ExitCode.FILE_MISSING: DeliveryReason.FILE_MISSING,
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
)

# The same for a delivery; everything else is tried again until it is given up.
FATAL_DELIVERY_EXIT_CODES = (
    ExitCode.BAD_REQUEST,
    ExitCode.SECRET_INVALID,
    ExitCode.AUTHENTICATION_FAILED,
    ExitCode.DELIVERY_REFUSED,
    ExitCode.FILE_MISSING,
)

# Nothing is in the way.
UNTROUBLED = (DeliveryReason.PENDING, DeliveryReason.IN_PROGRESS)
