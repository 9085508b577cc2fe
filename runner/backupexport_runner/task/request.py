"""Reads the task and the export from the environment, and checks them again.

The api and the CRD's schema have checked these values before, but the runner uses them in names
of files, so it trusts neither.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from backupexport_contract import names, rules, timestamps
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_contract.restore_commands import is_encrypted

from backupexport_runner.task.failure import Failure, malformed_delivery, one_line

# A name that Kubernetes generates ends at 63 characters.
_POD_NAME = r"[a-z0-9][a-z0-9.-]{0,62}"
_LONGEST_NAMES = 200
_TASKS = (protocol.TASK_EXPORT, protocol.TASK_TIDY, protocol.TASK_REMOVE, protocol.TASK_CHECK)


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

    @property
    def is_encrypted(self) -> bool:
        """Whether the file is encrypted, as its name says."""
        return is_encrypted(self.file_name)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A finished file on the volume; its parts are safe to open as they are."""

    project_id: str
    storage_path: str | None
    file_name: str


def read_task(environment: Mapping[str, str], delivery_kinds: frozenset[str]) -> str:
    """Returns the task, one of the protocol's.  Raises Failure(BAD_REQUEST)."""
    task = environment.get(protocol.ENV_TASK, protocol.TASK_EXPORT)
    known = (*_TASKS, *map(protocol.delivery_task, sorted(delivery_kinds)))
    if task not in known:
        raise _Values(environment).bad(protocol.ENV_TASK, f"must be one of {', '.join(known)}")
    return task


def read_selection(environment: Mapping[str, str]) -> protocol.Selection:
    """Returns what goes into the file.  Raises Failure(BAD_REQUEST)."""
    values = _Values(environment)
    text = protocol.from_pieces(protocol.ENV_SELECTION, environment)
    if unknown := protocol.unknown_choices(text):
        raise Failure(
            ExitCode.BAD_REQUEST,
            "The runner is older than the operator, and doesn't know what it is to choose or to "
            f"leave out ({one_line(', '.join(unknown), _LONGEST_NAMES)}): give it the operator's "
            "version (runner.image.tag), then start the export again.",
        )
    selection = protocol.read_selection(text)
    if selection is None or selection.content not in rules.CONTENTS:
        raise values.bad(protocol.ENV_SELECTION, "can't be read")
    for name in protocol.PATTERN_LISTS:
        for pattern in getattr(selection, name):
            if broken := rules.first_broken(rules.PATTERN, pattern):
                raise values.bad(protocol.ENV_SELECTION, f"has a pattern that {broken.message}")
    return selection


def read_files(environment: Mapping[str, str]) -> list[StoredFile]:
    """Returns the files that are to be removed.  Raises Failure(BAD_REQUEST)."""
    text = protocol.from_pieces(protocol.ENV_FILES, environment)
    try:
        return [_stored_file(path) for path in json.loads(text)]
    except (ValueError, TypeError, AttributeError, RecursionError):
        problem = "must be a JSON list of paths of exports"
        raise bad_value(protocol.ENV_FILES, problem) from None


def _stored_file(path: str) -> StoredFile:
    """Raises ValueError, TypeError or AttributeError if no artifact can have that path."""
    project_id, _, rest = path.partition("/")
    storage_path, _, file_name = rest.rpartition("/")
    if (
        rules.first_broken(rules.PROJECT_ID, project_id)
        or (storage_path and rules.first_broken(rules.STORAGE_PATH, storage_path))
        or not names.is_artifact_file_name(file_name)
        or names.artifact_path(project_id, storage_path, file_name) != path
    ):
        raise ValueError(path)
    return StoredFile(project_id, storage_path or None, file_name)


def read_request(environment: Mapping[str, str]) -> Request:
    """Returns the checked request.  Raises Failure(BAD_REQUEST) that names the wrong variable."""
    values = _Values(environment)
    job_id = values.given(protocol.ENV_JOB_ID)
    if not names.is_uuid(job_id):
        raise values.bad(protocol.ENV_JOB_ID, "must be a UUID")
    has_path = environment.get(protocol.ENV_STORAGE_PATH)
    request = Request(
        job_id=job_id,
        project_id=values.ruled(protocol.ENV_PROJECT_ID, rules.PROJECT_ID),
        format=values.chosen(protocol.ENV_FORMAT, rules.FORMATS),
        compression=values.chosen(protocol.ENV_COMPRESSION, (*rules.COMPRESSIONS, "none")),
        storage_path=(
            values.ruled(protocol.ENV_STORAGE_PATH, rules.STORAGE_PATH) if has_path else None
        ),
        file_name=values.given(protocol.ENV_FILE_NAME),
        created_at=values.given(protocol.ENV_CREATED_AT),
    )
    try:
        created = timestamps.from_text(request.created_at)
    except (ValueError, OverflowError):
        problem = "must be an RFC 3339 time with a zone"
        raise values.bad(protocol.ENV_CREATED_AT, problem) from None
    name = names.artifact_file_name(
        created,
        job_id,
        request.format,
        request.compression,
        is_encrypted=request.is_encrypted,
    )
    if request.file_name != name or not names.is_artifact_file_name(name):
        raise values.bad(
            protocol.ENV_FILE_NAME,
            "must follow from the job id, the format, the compression and the creation time",
        )
    return request


def read_recipients(environment: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """Returns to whom the file is encrypted, none for nobody.  Raises Failure."""
    values = _Values(environment)
    recipients = protocol.read_recipients(environment)
    if recipients is None or any(rules.first_broken(rules.RECIPIENT, it) for it in recipients):
        raise values.bad(protocol.ENV_RECIPIENTS, "must be a JSON list of recipients")
    # Neither may be lost on the way: a plain file would take the place of an encrypted one.
    if bool(recipients) != request.is_encrypted:
        problem = f"must be there where the file's name ends in {names.ENCRYPTED}, and only there"
        raise values.bad(protocol.ENV_RECIPIENTS, problem)
    return recipients


def read_attempt(environment: Mapping[str, str]) -> str:
    """Returns what tells this attempt from all others: its pod's name, or a random one.

    Raises Failure(BAD_REQUEST) if that is no name of a Job's pod.
    """
    # An older operator doesn't say it.
    name = environment.get(protocol.ENV_POD_NAME) or secrets.token_hex(8)
    if not re.fullmatch(_POD_NAME, name):
        raise bad_value(protocol.ENV_POD_NAME, "must be the name of a Job's pod")
    return name


@dataclass(frozen=True, slots=True)
class _Values:
    environment: Mapping[str, str]

    def given(self, name: str) -> str:
        value = self.environment.get(name)
        if not value:
            raise self.bad(name, "is missing")
        return value

    def ruled(self, name: str, rule_set: tuple[rules.Rule, ...]) -> str:
        value = self.given(name)
        broken = rules.first_broken(rule_set, value)
        if broken is not None:
            raise self.bad(name, broken.message)
        return value

    def chosen(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.given(name)
        if value not in choices:
            raise self.bad(name, f"must be one of {', '.join(choices)}")
        return value

    def bad(self, name: str, problem: str) -> Failure:
        # The value is not repeated: it may be long, or a secret in the wrong place.
        if protocol.delivery_kind(self.environment.get(protocol.ENV_TASK, "")) is not None:
            return malformed_delivery(f"{name} {problem}")
        return bad_value(name, problem)


def bad_value(name: str, problem: str) -> Failure:
    """Returns the failure of an export whose Job the operator can't have made."""
    return Failure(
        ExitCode.BAD_REQUEST,
        f"The export's Job is not as the operator makes it: {name} {problem}; "
        "start the export again, and report a bug if it repeats.",
    )
