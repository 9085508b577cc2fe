"""What every kind of storage does for the tasks; each implementation is a package of its own.

All methods raise Failure.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from backupexport_contract.runner_protocol import Artifact, Outcome

from backupexport_runner.storage.room import Room
from backupexport_runner.task.request import Request, StoredFile

# A successor's pod takes longer to be made, scheduled and started, and to have a file.
BEGINNING_SECONDS = 2.0


def delivery_journal_name(file_name: str, kind: str) -> str:
    """Returns the hidden name of the notes that a kind of delivery makes about the artifact."""
    return f".{file_name}.deliver-{kind}"


class NewFile(Protocol):
    """A file while it is written: it has its name once it is published, and whole."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends all of `data`."""

    def finish(self) -> None:
        """Waits until all of it is stored."""

    def publish(self, manifest: str, sha256: str, /) -> None:
        """Gives the file its name, and then its manifest the manifest's.

        Raises TakenOverFailure if another attempt, or a cleanup, was first.
        """


class Notes(Protocol):
    """One delivery's notes about one artifact; methods raise Failure(DELIVERY_DEFERRED)."""

    def read(self) -> dict[str, Any] | None:
        """Returns the notes; None if there are none, or they are not as `write` makes them."""

    def begin(self, notes: dict[str, Any]) -> None:
        """Writes the first notes."""

    def write(self, notes: dict[str, Any]) -> None:
        """Replaces the notes; they are stored when this returns."""

    def remove(self) -> None:
        """Removes the notes, so that the next attempt begins from the start."""


class Reader(Protocol):
    """A finished file, as a delivery reads it."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Returns at most `size` bytes from `offset` on, none at the file's end."""


class FinishedFile(Protocol):
    """A finished file with what deliveries note beside it."""

    def notes(self, kind: str) -> Notes:
        """Returns the notes of a kind of delivery."""

    def opened(self, size: int) -> AbstractContextManager[Reader]:
        """Yields the file.  Raises Failure(FILE_MISSING) if it isn't one of `size` bytes."""


class Storage(Protocol):
    """A place where finished files are."""

    @property
    def name(self) -> str:
        """What the chart calls it."""

    def url(self, path: str, /) -> str:
        """Returns where in a bucket the file at `path` is; empty for a volume."""

    def tidy(self, request: Request, until: float = math.inf) -> Artifact | None:
        """Returns the complete artifact; None if there is none, and then nothing of it is left.

        What came after `until`, a time of the clock CLOCK_BOOTTIME, stays.
        """

    def whole_artifact(self, request: Request) -> Artifact | None:
        """Returns the artifact that is complete; None if there is none of the request."""

    def remove(self, request: Request) -> None:
        """Removes everything of the job, complete or not."""

    def remove_all(self, files: Sequence[StoredFile]) -> Outcome:
        """Removes all of the files with what lies beside them, as far as the storage allows.

        The outcome has the places in `files` of those that are not there and were not removed by an
        earlier run.  Raises NotAllRemovedError.
        """

    def room(self, environment: Mapping[str, str], project_id: str, /) -> Room:
        """Returns what an export may take.  Raises Failure if it can't begin."""

    def new_file(
        self, request: Request, attempt: str, estimated_bytes: int, /
    ) -> AbstractContextManager[NewFile]:
        """Yields the request's file; the end of the context removes it, unless it is published."""

    def finished(self, request: Request) -> AbstractContextManager[FinishedFile]:
        """Yields the request's file.  Raises Failure(FILE_MISSING) if nothing can be there."""

    def check(self) -> str:
        """Tries all that the tasks do; returns a sentence on what works."""

    def close(self) -> None:
        """Ends its connections."""
