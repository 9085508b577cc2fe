"""Reads the task and the export from the environment, and checks them again.

The api and the CRD's schema have checked these values before, but the runner uses them in names
of files, so it trusts neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from backupexport_contract import names, rules, timestamps
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure, malformed_delivery

_UNCOMPRESSED = "none"
_TASKS = (protocol.TASK_EXPORT, protocol.TASK_TIDY, protocol.TASK_REMOVE)


@dataclass(frozen=True, slots=True)
class Request:
    """One export; `storage_path` and `file_name` are safe to open as they are."""

    job_id: str
    project_id: str
    format: str
    compression: str
    storage_path: str | None
    file_name: str
    created_at: str

    @property
    def artifact_path(self) -> str:
        """The artifact's path, relative to the volume's root."""
        return names.artifact_path(self.project_id, self.storage_path, self.file_name)


def read_task(environment: Mapping[str, str], delivery_kinds: frozenset[str]) -> str:
    """Returns the task, one of the protocol's.  Raises Failure(BAD_REQUEST)."""
    task = environment.get(protocol.ENV_TASK, protocol.TASK_EXPORT)
    known = (*_TASKS, *map(protocol.delivery_task, sorted(delivery_kinds)))
    if task not in known:
        raise _bad(environment, protocol.ENV_TASK, f"must be one of {', '.join(known)}")
    return task


def read_request(environment: Mapping[str, str]) -> Request:
    """Returns the checked request.  Raises Failure(BAD_REQUEST) that names the wrong variable."""
    job_id = _value(environment, protocol.ENV_JOB_ID)
    if not names.is_uuid(job_id):
        raise _bad(environment, protocol.ENV_JOB_ID, "must be a UUID")
    request = Request(
        job_id=job_id,
        project_id=_ruled(environment, protocol.ENV_PROJECT_ID, rules.PROJECT_ID),
        format=_chosen(environment, protocol.ENV_FORMAT, rules.FORMATS),
        compression=_chosen(
            environment, protocol.ENV_COMPRESSION, (*rules.COMPRESSIONS, _UNCOMPRESSED)
        ),
        storage_path=(
            _ruled(environment, protocol.ENV_STORAGE_PATH, rules.STORAGE_PATH)
            if environment.get(protocol.ENV_STORAGE_PATH)
            else None
        ),
        file_name=_value(environment, protocol.ENV_FILE_NAME),
        created_at=_value(environment, protocol.ENV_CREATED_AT),
    )
    if request.file_name != _expected_file_name(environment, request):
        raise _bad(
            environment,
            protocol.ENV_FILE_NAME,
            "must follow from the job id, the format, the compression and the creation time",
        )
    return request


def _expected_file_name(environment: Mapping[str, str], request: Request) -> str | None:
    try:
        created = timestamps.from_text(request.created_at)
    except (ValueError, OverflowError):
        raise _bad(
            environment, protocol.ENV_CREATED_AT, "must be an RFC 3339 time with a zone"
        ) from None
    name = names.artifact_file_name(created, request.job_id, request.format, request.compression)
    return name if names.is_artifact_file_name(name) else None


def _value(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise _bad(environment, name, "is missing")
    return value


def _ruled(environment: Mapping[str, str], name: str, rule_set: tuple[rules.Rule, ...]) -> str:
    value = _value(environment, name)
    broken = rules.first_broken(rule_set, value)
    if broken is not None:
        raise _bad(environment, name, broken.message)
    return value


def _chosen(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = _value(environment, name)
    if value not in choices:
        raise _bad(environment, name, f"must be one of {', '.join(choices)}")
    return value


def _bad(environment: Mapping[str, str], name: str, problem: str) -> Failure:
    # The value is not repeated: it may be long, or a secret in the wrong place.
    if protocol.delivery_kind(environment.get(protocol.ENV_TASK, "")) is not None:
        return malformed_delivery(f"{name} {problem}")
    return Failure(
        ExitCode.BAD_REQUEST,
        f"The export's Job is not as the operator makes it: {name} {problem}; "
        "start the export again, and report a bug if it repeats.",
    )
