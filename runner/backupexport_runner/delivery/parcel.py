"""What a delivery has to go by: the export's end, the kind's settings, its Secret."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import ExportEnd

from backupexport_runner.task.failure import Failure, malformed_delivery
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import Request, read_request

# A shorter one is in every other word.
_SHORTEST_SECRET = 4
# An ordinary word as often as not, without which no sentence can be read.
_NO_SECRET = "username"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a delivery has to go by.

    `settings` are the kind's under their names in an ExportTarget, checked by the operator;
    `secret` is its Secret, key by key.  `check` raises Failure where the process has been
    asked to stop.  Below `exports` is the project's directory, where the kind needs it.
    """

    request: Request
    end: ExportEnd
    settings: Mapping[str, Any]
    secret: Mapping[str, str]
    exports: Path
    log: Log
    check: Callable[[], None]

    def credential(self, key: str) -> str:
        """The Secret's value under `key`, or Failure(SECRET_INVALID)."""
        value = self.secret.get(key, "").strip()
        if not value:
            raise Failure(
                ExitCode.SECRET_INVALID,
                f"The delivery's Secret has no {key}: add the key for the next export.",
            )
        return value


def read_parcel(
    environment: Mapping[str, str], exports: Path, log: Log, interruption: Interruption
) -> Parcel:
    """Read what the operator has put into the environment; Failure where it can't be read."""
    end = protocol.read_export_end(environment.get(protocol.ENV_EXPORT_END, ""))
    if end is None:
        raise malformed_delivery(f"{protocol.ENV_EXPORT_END} can't be read")
    try:
        settings = json.loads(environment.get(protocol.ENV_DELIVERY_SETTINGS, ""))
    except ValueError:
        raise malformed_delivery(f"{protocol.ENV_DELIVERY_SETTINGS} can't be read") from None
    if not isinstance(settings, dict):
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
