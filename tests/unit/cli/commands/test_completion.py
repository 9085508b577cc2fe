"""A shell that completes waits for a moment, whatever takes longer."""

import threading
from typing import NoReturn

import click
import pytest
from backupexport_cli.commands import completion
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.session import Session


@pytest.fixture
def context() -> click.Context:
    return click.Context(click.Command("backupexport"))


def test_what_takes_longer_than_a_moment_completes_nothing(
    context: click.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def exports(_: Session) -> NoReturn:
        # As a keyring that asks for its password.
        is_over.wait(60)
        raise CliError(ExitCode.UNREACHABLE, "x")

    monkeypatch.setattr(Session, "exports", exports)
    monkeypatch.setattr(completion, "_SECONDS", 0.1)
    try:
        assert completion.job_ids(context, "") == []  # type: ignore[arg-type]
        assert not is_over.is_set()
    finally:
        is_over.set()


def test_what_fails_completes_nothing(
    context: click.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exports(_: Session) -> NoReturn:
        raise ValueError

    monkeypatch.setattr(Session, "exports", exports)
    assert completion.job_ids(context, "") == []  # type: ignore[arg-type]
