"""One attempt to bring what became of an export to its owner, in the way that the task names."""

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

from backupexport_contract.runner_protocol import Outcome

from backupexport_runner.delivery import kinds
from backupexport_runner.delivery.parcel import _NO_SECRET, _SHORTEST_SECRET, read_parcel
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber


def known_kinds() -> frozenset[str]:
    """Every kind of delivery that this runner knows."""
    return frozenset(module.name for module in pkgutil.iter_modules(kinds.__path__))


def deliver(
    kind: str,
    environment: Mapping[str, str],
    exports: Path,
    log: Log,
    scrubber: Scrubber,
    interruption: Interruption,
) -> Outcome:
    """Make the attempt; an Outcome with a sentence, or Failure."""
    parcel = read_parcel(environment, exports, log, interruption)
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
    module = importlib.import_module(f"{kinds.__name__}.{kind}")
    return Outcome(message=module.deliver(parcel))
