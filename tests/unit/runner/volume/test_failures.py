"""Errors of the volume."""

import errno

import pytest
from backupexport_contract.reasons import ExitCode
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
        (errno.EIO, ExitCode.STORAGE_UNWRITABLE),
        (None, ExitCode.STORAGE_UNWRITABLE),
    ],
)
def test_storage_errors(number: int | None, exit_code: ExitCode) -> None:
    error = OSError(number, "x") if number else OSError("x")
    assert storage_failure(error).exit_code == exit_code
