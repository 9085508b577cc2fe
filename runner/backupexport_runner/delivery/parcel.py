"""What a delivery works with: the export's end, the kind's settings and its Secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure, malformed_delivery
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import Request, read_request

# Shorter values are not hidden: they are in every other word.
_SHORTEST_HIDDEN = 4
# Not hidden: an ordinary word as often as not, without which no sentence can be read.
_USERNAME = "username"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a delivery works with.

    `settings` are the kind's under their names in an ExportTarget, checked by the operator;
    `secret` is its Secret, key by key.  `check` raises Failure if the process has been asked to
    stop.  `exports` is the mount with the project's directory.
    """

    request: Request
    end: protocol.ExportEnd
    settings: Mapping[str, Any]
    secret: Mapping[str, str]
    exports: Path
    log: Log
    check: Callable[[], None]

    def credential(self, key: str) -> str:
        """Returns the Secret's value under `key`.  Raises Failure(SECRET_INVALID)."""
        value = self.secret.get(key, "").strip()
        if not value:
            raise Failure(
                ExitCode.SECRET_INVALID,
                f"The delivery's Secret has no {key}: add the key for the next export.",
            )
        return value

    @property
    def hidden(self) -> list[str]:
        """The values that the log must hide: those of the Secret, and the mail's address."""
        values = [value for key, value in self.secret.items() if key != _USERNAME]
        # `credential` strips them.
        values += [value.strip() for value in values]
        hidden = [value for value in values if len(value) >= _SHORTEST_HIDDEN]
        return [*hidden, self.end.notify_email or ""]


def read_parcel(
    environment: Mapping[str, str], exports: Path, log: Log, interruption: Interruption
) -> Parcel:
    """Returns what the operator has put into the environment.  Raises Failure(BAD_REQUEST)."""
    end = protocol.read_export_end(environment.get(protocol.ENV_EXPORT_END, ""))
    if end is None:
        raise malformed_delivery(f"{protocol.ENV_EXPORT_END} can't be read")
    settings = protocol.json_object(environment.get(protocol.ENV_DELIVERY_SETTINGS, ""))
    if settings is None:
        raise malformed_delivery(f"{protocol.ENV_DELIVERY_SETTINGS} can't be read")
    prefix = protocol.SECRET_ENV_PREFIX
    return Parcel(
        request=read_request(environment),
        end=end,
        settings=settings,
        secret={
            name.removeprefix(prefix): value
            for name, value in environment.items()
            if name.startswith(prefix)
        },
        exports=exports,
        log=log,
        check=interruption.check,
    )
