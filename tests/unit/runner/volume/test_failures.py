"""Errors of the volume."""

import errno

import pytest
from backupexport_contract.reasons import (
    FATAL_EXIT_CODES,
    NOT_YET_EXIT_CODES,
    REASON_OF_EXIT_CODE,
    ExitCode,
    Reason,
)
from backupexport_runner.storage.failures import before_it_begins
from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.failures import storage_failure

FULL, UNWRITABLE = ExitCode.STORAGE_FULL, ExitCode.STORAGE_UNWRITABLE
FALTERING = ExitCode.STORAGE_FALTERING


@pytest.mark.parametrize(
    ("name", "exit_code", "words"),
    [
        ("ENOSPC", FULL, "is full"),
        ("EDQUOT", FULL, "quota is used up"),
        ("EFBIG", FULL, "can't hold a file this large"),
        ("EROFS", UNWRITABLE, "mount it for writing"),
        ("EACCES", UNWRITABLE, "fsGroup"),
        ("EPERM", UNWRITABLE, "permissions and flags"),
        ("ELOOP", UNWRITABLE, "symbolic link"),
        ("ENOTDIR", UNWRITABLE, "taken by something else"),
        ("ENOENT", UNWRITABLE, "was removed, or isn't mounted"),
        ("EISDIR", UNWRITABLE, "directory has the name"),
        # Nobody knows of these that they heal.
        ("EINVAL", UNWRITABLE, "doesn't work"),
        ("ENAMETOOLONG", UNWRITABLE, "doesn't work"),
        ("EOPNOTSUPP", UNWRITABLE, "doesn't work"),
        (None, UNWRITABLE, "doesn't work"),
        *(
            (name, FALTERING, "is tried again by itself")
            for name in (
                "EIO", "EAGAIN", "EBUSY", "ENOMEM", "ENXIO", "ENODEV", "ENOLCK", "ECOMM",
                "ENOLINK", "ENETDOWN", "ENETUNREACH", "ECONNABORTED", "ECONNRESET", "ENOTCONN",
                "ESHUTDOWN", "ETIMEDOUT", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "ESTALE",
                "EREMOTEIO",
            )
        ),
    ],
)  # fmt: skip
def test_storage_errors(name: str | None, exit_code: ExitCode, words: str) -> None:
    failure = storage_failure(OSError(getattr(errno, name), "x") if name else OSError("x"))
    assert failure.exit_code == exit_code
    assert words in failure.message
    assert "then start the export again (" in failure.message


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [("EIO", ExitCode.STORAGE_AWAY), ("EROFS", UNWRITABLE), ("ENOSPC", FULL)],
)
def test_storage_errors_before_an_export_begins(name: str, exit_code: ExitCode) -> None:
    with pytest.raises(Failure) as failure, before_it_begins():
        raise storage_failure(OSError(getattr(errno, name), "x"))
    assert failure.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("exit_code", "reason", "is_fatal"),
    [
        (ExitCode.STORAGE_FALTERING, Reason.STORAGE_UNWRITABLE, False),
        (ExitCode.STORAGE_AWAY, Reason.STORAGE_UNWRITABLE, False),
        (ExitCode.STORAGE_UNWRITABLE, Reason.STORAGE_UNWRITABLE, True),
        (ExitCode.STORAGE_FULL, Reason.STORAGE_FULL, True),
        (ExitCode.DUMP_REFUSED, Reason.DUMP_FAILED, True),
        (ExitCode.DUMP_FAILED, Reason.DUMP_FAILED, False),
    ],
)
def test_what_is_tried_again(exit_code: ExitCode, reason: Reason, *, is_fatal: bool) -> None:
    assert REASON_OF_EXIT_CODE[exit_code] == reason
    assert (exit_code in FATAL_EXIT_CODES) is is_fatal
    assert (exit_code in NOT_YET_EXIT_CODES) is (exit_code is ExitCode.STORAGE_AWAY)
