"""One attempt to bring what became of an export to its owner, in the way that the task names."""

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import ExportEnd, Outcome

from backupexport_runner import deliveries
from backupexport_runner.failures import RunnerFailure, malformed_delivery
from backupexport_runner.interruption import Interruption
from backupexport_runner.log import Log
from backupexport_runner.request import Request, read_request
from backupexport_runner.scrubbing import Scrubber

# A shorter one is in every other word.
_SHORTEST_SECRET = 4
# An ordinary word as often as not, without which no sentence can be read.
_NO_SECRET = "username"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a delivery has to go by.

    `settings` are the kind's under their names in an ExportTarget, checked by the operator;
    `secret` is its Secret, key by key.  `check` raises RunnerFailure where the process has been
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
        """The Secret's value under `key`, or RunnerFailure(SECRET_INVALID)."""
        value = self.secret.get(key, "").strip()
        if not value:
            raise RunnerFailure(
                ExitCode.SECRET_INVALID,
                f"The delivery's Secret has no {key}: add the key for the next export.",
            )
        return value


def kinds() -> frozenset[str]:
    """Every kind of delivery that this runner knows."""
    return frozenset(module.name for module in pkgutil.iter_modules(deliveries.__path__))


def deliver(
    kind: str,
    environment: Mapping[str, str],
    exports: Path,
    log: Log,
    scrubber: Scrubber,
    interruption: Interruption,
) -> Outcome:
    """Make the attempt; an Outcome with a sentence, or RunnerFailure."""
    parcel = _parcel(environment, exports, log, interruption)
    # `credential` strips them.
    values = [
        text
        for key, value in parcel.secret.items()
        if key != _NO_SECRET
        for text in (value, value.strip())
    ]
    scrubber.learn(value for value in values if len(value) >= _SHORTEST_SECRET)
    if parcel.end.notify_email:
        scrubber.learn([parcel.end.notify_email])
    module = importlib.import_module(f"{deliveries.__name__}.{kind}")
    return Outcome(message=module.deliver(parcel))


def _parcel(
    environment: Mapping[str, str], exports: Path, log: Log, interruption: Interruption
) -> Parcel:
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
