"""What a delivery works with: the export's end, the kind's settings and its Secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode

from backupexport_runner.storage.interface import Storage
from backupexport_runner.storages import open_storage
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.failure import Failure, malformed_delivery
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log
from backupexport_runner.task.request import Request, read_request
from backupexport_runner.task.secret import read_secret

# Hidden as a whole word only: an ordinary one as often as not.
_USERNAME = "username"
_WHOSE = "The delivery's Secret"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a delivery works with.

    `settings` are the kind's under their names in an ExportTarget, checked by the operator;
    `secret` is its Secret, key by key.  `check` raises Failure if the process has been asked to
    stop.  `open_storage` returns where the file is.
    """

    request: Request
    end: protocol.ExportEnd
    settings: Mapping[str, Any]
    secret: Mapping[str, str]
    open_storage: Callable[[], Storage]
    log: Log
    check: Callable[[], None]

    def credential(self, key: str) -> str:
        """Returns the Secret's value under `key`.  Raises Failure(SECRET_INVALID)."""
        value = self.secret.get(key, "").strip()
        if not value:
            raise Failure(
                ExitCode.SECRET_INVALID,
                f"{_WHOSE} has no {key}: add the key for the next export.",
            )
        return value


def read_parcel(
    environment: Mapping[str, str],
    configuration: Configuration,
    log: Log,
    interruption: Interruption,
) -> Parcel:
    """Returns what the operator has handed over; the log hides what is private of it.

    Raises Failure(BAD_REQUEST), or SECRET_… where the delivery's Secret can't be used.
    """
    end = protocol.read_export_end(environment.get(protocol.ENV_EXPORT_END, ""))
    if end is None:
        raise malformed_delivery(f"{protocol.ENV_EXPORT_END} can't be read")
    log.scrubber.learn([end.notify_email or ""])
    settings = protocol.json_object(
        protocol.from_pieces(protocol.ENV_DELIVERY_SETTINGS, environment)
    )
    if settings is None:
        raise malformed_delivery(f"{protocol.ENV_DELIVERY_SETTINGS} can't be read")
    secret: Mapping[str, str] = {}
    if settings.get("secretRef"):
        name = settings["secretRef"].get("name", "")
        secret = read_secret(configuration.secret, f'{_WHOSE} "{name}"').well_known
        log.scrubber.learn(
            [value for key, value in secret.items() if key != _USERNAME],
            [secret.get(_USERNAME, "").strip()],
        )
    return Parcel(
        request=read_request(environment),
        end=end,
        settings=settings,
        secret=secret,
        open_storage=partial(open_storage, environment, configuration, log, interruption),
        log=log,
        check=interruption.check,
    )
