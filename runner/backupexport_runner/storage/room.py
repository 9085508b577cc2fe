"""How much room an export may take where it is stored."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from backupexport_contract import rules
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.readable import readable_size
from backupexport_contract.reasons import ExitCode

from backupexport_runner.storage.failures import ON_VOLUME
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.request import bad_value

_Piece = bytes | memoryview

_OF_ONE_FILE = (
    "The file grew beyond maxBytes, {size}: export less, or have an administrator raise it on the "
    "ExportTarget or in the chart, then start the export again."
)
_OF_ALL_FILES = (
    "The project's files grew beyond maxStoredBytes, which had left {size}: remove old exports, or "
    "have an administrator raise it on the ExportTarget or in the chart, then start the export "
    "again."
)
_NONE_LEFT = (
    "The project's files {where} take {stored} of maxStoredBytes, {limit}: remove old "
    "exports, with those files whose BackupExports are gone, or have an administrator raise it on "
    "the ExportTarget or in the chart, then start the export again."
)


@dataclass(frozen=True, slots=True)
class Room:
    """Limits of an export, in bytes; `reserve` is as rules.RESERVE has it, empty for none.

    `most` is of its file, `most_stored` of all the project's files, `most_spooled` of each that
    pg_dump itself keeps on the volume for a while.
    """

    most: int | None
    sentence: str
    most_stored: int | None
    reserve: str
    most_spooled: int | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Room":
        """Returns what the environment says.  Raises Failure(BAD_REQUEST)."""
        limits = [
            (most, sentence)
            for name, sentence in (
                (protocol.ENV_MAX_BYTES, _OF_ONE_FILE),
                (protocol.ENV_ROOM_BYTES, _OF_ALL_FILES),
            )
            if (most := _number(environment, name)) is not None
        ]
        reserve = environment.get(protocol.ENV_RESERVE, "")
        if reserve and not re.fullmatch(rules.RESERVE, reserve):
            raise bad_value(protocol.ENV_RESERVE, "must be bytes, or a percentage such as 5%")
        most, sentence = min(limits, default=(None, ""))
        most_stored = _number(environment, protocol.ENV_MAX_STORED_BYTES)
        most_spooled = _number(environment, protocol.ENV_MAX_SPOOL_BYTES)
        return cls(most, sentence, most_stored, reserve, most_spooled)

    @property
    def spool_bytes(self) -> int | None:
        """How large a file of pg_dump's own may be: unless given what the export's may have."""
        return self.most if self.most_spooled is None else self.most_spooled

    def beside(self, stored: int, where: str = ON_VOLUME) -> "Room":
        """Returns what is left beside finished files of `stored` bytes.

        Raises Failure(STORAGE_FULL) if no file fits there.
        """
        if self.most_stored is None:
            return self
        left = self.most_stored - stored
        if left < rules.LEAST_FILE_BYTES:
            sizes = {"stored": readable_size(stored), "limit": readable_size(self.most_stored)}
            raise Failure(ExitCode.STORAGE_FULL, _NONE_LEFT.format(where=where, **sizes))
        if self.most is not None and self.most <= left:
            return self
        return replace(self, most=left, sentence=_OF_ALL_FILES)

    def limited(self, write: Callable[[_Piece], None]) -> Callable[[_Piece], None]:
        """Returns `write` for a new file: it raises Failure in place of the byte too many."""
        written = 0

        def within(piece: _Piece) -> None:
            nonlocal written
            written += len(piece)
            if self.most is not None and written > self.most:
                raise Failure(
                    ExitCode.STORAGE_FULL, self.sentence.format(size=readable_size(self.most))
                )
            write(piece)

        return within


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name)
    if not value:
        return None
    if not re.fullmatch("[0-9]{1,18}", value):
        raise bad_value(name, "must be a number of bytes")
    return int(value)
