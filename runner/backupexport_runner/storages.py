"""The storage that a task's environment names."""

from collections.abc import Mapping

from backupexport_contract import runner_protocol as protocol

from backupexport_runner.storage.interface import Storage
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import bad_value
from backupexport_runner.volume.storage import VolumeStorage


def open_storage(
    environment: Mapping[str, str],
    configuration: Configuration,
    log: Log,
    interruption: Interruption,
) -> Storage:
    """Returns the storage; no request is made.  Raises Failure(BAD_REQUEST)."""
    text = protocol.from_pieces(protocol.ENV_STORAGE, environment)
    named = protocol.json_object(text or "{}")
    if named is None or not isinstance(settings := named.get("storage", {}), dict):
        raise bad_value(protocol.ENV_STORAGE, "can't be read")
    if not text or "volume" in settings:
        name = named.get("name", "")
        return VolumeStorage(
            name if isinstance(name, str) else "", configuration.exports, log, interruption
        )
    # What speaks to buckets takes a while to load, and memory.
    from backupexport_runner.bucket.storage import open_bucket  # noqa: PLC0415

    return open_bucket(text, configuration.storage, log, interruption)
