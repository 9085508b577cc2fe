"""Failures of a task that any kind of storage can have."""

import contextlib
from collections.abc import Iterator

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Outcome

from backupexport_runner.task.failure import Failure

ON_VOLUME, IN_BUCKET = "on the volume", "in the bucket"


class TakenOverFailure(Failure):
    """Another attempt, or a cleanup, has the final name or removed the unfinished file."""

    def __init__(self) -> None:
        super().__init__(
            ExitCode.INTERNAL,
            "Another attempt of this export, or its cleanup, took the file over: wait for that "
            "one.",
        )


class NotAllRemovedError(Failure):
    """Some files are still there; `outcome` tells which, and which were not found."""

    def __init__(self, first: Failure, outcome: Outcome) -> None:
        super().__init__(first.exit_code, first.message)
        self.outcome = outcome


class FileChangedFailure(Failure):
    """FILE_MISSING, because what is stored is not what was exported."""


@contextlib.contextmanager
def before_it_begins() -> Iterator[None]:
    """Within the context a failure of storage that may heal is no attempt: nothing is lost yet."""
    try:
        yield
    except Failure as failure:
        if failure.exit_code != ExitCode.STORAGE_FALTERING:
            raise
        raise Failure(ExitCode.STORAGE_AWAY, failure.message) from failure


def file_missing(where: str = ON_VOLUME) -> Failure:
    """Returns a delivery's failure for a file that is gone."""
    return Failure(
        ExitCode.FILE_MISSING,
        f"The export's file is not {where} any more: start the export again.",
    )


def file_changed(where: str = ON_VOLUME) -> Failure:
    """Returns a delivery's failure where another file is in the place of the export's."""
    return FileChangedFailure(
        ExitCode.FILE_MISSING,
        f"What is {where} under the file's name is not what was exported, its size, checksum "
        "or names differ: find out who changed it, and start the export again.",
    )
