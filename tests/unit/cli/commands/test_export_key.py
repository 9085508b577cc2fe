"""Whether the key of an export that has failed to be asked for is told."""

import pytest
from backupexport_cli.commands.export import _created
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service.interface import Exports
from backupexport_cli.session import GlobalOptions, Session


class Failing:
    """Exports that can't be asked for."""

    def __init__(self, error: CliError) -> None:
        self._error = error

    def create(self, request: dict[str, object], idempotency_key: str) -> str:
        raise self._error


@pytest.mark.parametrize(
    ("exit_code", "code", "is_told"),
    [
        (ExitCode.UNREACHABLE, "", True),
        (ExitCode.UNREACHABLE, "internal", True),
        # Nobody has refused it: kubectl has failed in a way that nobody knows.
        (ExitCode.FAILED, "", True),
        (ExitCode.FAILED, "idempotency_key_reused", False),
        (ExitCode.USAGE, "", False),
        (ExitCode.NOT_ALLOWED, "Forbidden", False),
    ],
)
def test_the_key_is_told_where_there_may_be_an_export(
    exit_code: ExitCode, code: str, is_told: bool
) -> None:
    exports: Exports = Failing(CliError(exit_code, "No.", "Do.", code=code))  # type: ignore[assignment]
    with pytest.raises(CliError) as caught:
        _created(Session(GlobalOptions()), exports, {}, "mine")
    assert ("--idempotency-key mine" in caught.value.advice) is is_told
    assert caught.value.exit_code is exit_code
