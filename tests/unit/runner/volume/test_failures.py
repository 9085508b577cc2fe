"""Errors of the volume."""

import errno

import pytest
from backupexport_contract.reasons import (
    FATAL_EXIT_CODES,
    REASON_OF_EXIT_CODE,
    ExitCode,
    Reason,
)
from backupexport_runner.volume.failures import storage_failure


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (errno.ENOSPC, ExitCode.STORAGE_FULL),
        (errno.EDQUOT, ExitCode.STORAGE_FULL),
        (errno.EFBIG, ExitCode.STORAGE_FULL),
        (errno.EROFS, ExitCode.STORAGE_UNWRITABLE),
        (errno.EACCES, ExitCode.STORAGE_UNWRITABLE),
        (errno.EPERM, ExitCode.STORAGE_UNWRITABLE),
        (errno.ELOOP, ExitCode.STORAGE_UNWRITABLE),
        (errno.ENOTDIR, ExitCode.STORAGE_UNWRITABLE),
        # What heals by itself is tried again.
        (errno.EIO, ExitCode.STORAGE_FALTERING),
        (errno.ESTALE, ExitCode.STORAGE_FALTERING),
        (errno.ETIMEDOUT, ExitCode.STORAGE_FALTERING),
        (errno.ENOTCONN, ExitCode.STORAGE_FALTERING),
        (errno.EREMOTEIO, ExitCode.STORAGE_FALTERING),
        (errno.EHOSTDOWN, ExitCode.STORAGE_FALTERING),
        (None, ExitCode.STORAGE_UNWRITABLE),
    ],
)
def test_storage_errors(number: int | None, exit_code: ExitCode) -> None:
    error = OSError(number, "x") if number else OSError("x")
    failure = storage_failure(error)
    assert failure.exit_code == exit_code
    assert "then start the export again (" in failure.message


@pytest.mark.parametrize(
    ("exit_code", "reason", "is_fatal"),
    [
        (ExitCode.STORAGE_FALTERING, Reason.STORAGE_UNWRITABLE, False),
        (ExitCode.STORAGE_UNWRITABLE, Reason.STORAGE_UNWRITABLE, True),
        (ExitCode.STORAGE_FULL, Reason.STORAGE_FULL, True),
        (ExitCode.DUMP_REFUSED, Reason.DUMP_FAILED, True),
        (ExitCode.DUMP_FAILED, Reason.DUMP_FAILED, False),
    ],
)
def test_what_is_tried_again(exit_code: ExitCode, reason: Reason, *, is_fatal: bool) -> None:
    assert REASON_OF_EXIT_CODE[exit_code] == reason
    assert (exit_code in FATAL_EXIT_CODES) is is_fatal
