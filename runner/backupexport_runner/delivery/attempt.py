"""One attempt to bring the end of an export to its owner, by the kind that the task names."""

import importlib
import pkgutil
from collections.abc import Mapping

from backupexport_contract.runner_protocol import Outcome

from backupexport_runner.delivery import kinds
from backupexport_runner.delivery.parcel import read_parcel
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log


def known_kinds() -> frozenset[str]:
    """Returns the kinds of delivery, which are the packages in `kinds`."""
    return frozenset(module.name for module in pkgutil.iter_modules(kinds.__path__))


def deliver(
    kind: str,
    environment: Mapping[str, str],
    configuration: Configuration,
    log: Log,
    interruption: Interruption,
) -> Outcome:
    """Makes the attempt; returns an Outcome with a sentence.  Raises Failure."""
    parcel = read_parcel(environment, configuration, log, interruption)
    module = importlib.import_module(f"{kinds.__name__}.{kind}")
    return Outcome(message=module.deliver(parcel))
