"""What the operator hands to the runner's container, and what it gets back.

In: environment values, so that nothing from a request is ever an option or part of a command line,
and a Secret's keys as files, so that none is in an environment.  Out: JSON lines on stdout
(progress), the exit code (`reasons.ExitCode`) and a termination message of at most 4096 bytes
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).

One may be newer than the other: during an upgrade, or for as long as runner.image.tag says so.

- Fields come, and neither go nor change their type.  A reader leaves out what it doesn't know, at
  any depth, and has a default for what it misses; a report is none only without that which it is
  about (an artifact's path, size and checksum).  Reports say the VERSION they were written by.
- A field of a Selection that the runner doesn't know is refused (`unknown_choices`, BAD_REQUEST):
  it may leave something out, and an export must not have more in it than was asked for.  So is a
  value that it doesn't know of a field that it does.  What must not be ignored in future (another
  limit, say, or how a delivery is protected) has to be one of the two.
- An exit code that the operator doesn't know counts as an attempt, and is tried again, as its
  podFailurePolicy has it; the report's reason and message say why.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

# Goes up with whatever a reader of an earlier version can't make the best of by itself.
VERSION = 1

ENV_TASK = "EXPORT_TASK"
ENV_JOB_ID = "EXPORT_JOB_ID"
ENV_PROJECT_ID = "EXPORT_PROJECT_ID"
ENV_FORMAT = "EXPORT_FORMAT"
ENV_COMPRESSION = "EXPORT_COMPRESSION"
ENV_STORAGE_PATH = "EXPORT_STORAGE_PATH"
# A `Selection` as JSON.
ENV_SELECTION = "EXPORT_SELECTION"
ENV_FILE_NAME = "EXPORT_FILE_NAME"
# The attempt's pod, in the names of the files that it has not finished.
ENV_POD_NAME = "EXPORT_POD_NAME"
ENV_CREATED_AT = "EXPORT_CREATED_AT"
# Of the task `remove` for several exports, in place of what describes one: a JSON list of paths.
ENV_FILES = "EXPORT_FILES"
# The most bytes of the file, of all the project's files, and what its BackupExports leave of that.
ENV_MAX_BYTES = "EXPORT_MAX_BYTES"
ENV_MAX_STORED_BYTES = "EXPORT_MAX_STORED_BYTES"
ENV_ROOM_BYTES = "EXPORT_ROOM_BYTES"
ENV_MAX_SPOOL_BYTES = "EXPORT_MAX_SPOOL_BYTES"
# To whom the file is encrypted: a JSON list of age's recipients; none of it if empty.
ENV_RECIPIENTS = "EXPORT_RECIPIENTS"
# Where the file goes, as `storages.storage_text` has it; the volume at EXPORTS_MOUNT unless given.
ENV_STORAGE = "EXPORT_STORAGE"
# What stays free on the volume, as `rules.RESERVE` has it.
ENV_RESERVE = "EXPORT_RESERVE"
ENV_SECRET_NAME = "EXPORT_SECRET_NAME"
# What the target itself says of the connection, under the parts' names in SECRET_KEYS.
ENV_CONNECTION = {
    "host": "EXPORT_HOST",
    "port": "EXPORT_PORT",
    "database": "EXPORT_DATABASE",
    "sslmode": "EXPORT_SSLMODE",
    "sslrootcert": "EXPORT_SSLROOTCERT",
}
ENV_TARGET_SESSION_ATTRS = "EXPORT_TARGET_SESSION_ATTRS"
# Not empty if a server that isn't verified is refused.
ENV_REQUIRE_VERIFIED_TLS = "EXPORT_REQUIRE_VERIFIED_TLS"

# Characters of up to four bytes each: https://man7.org/linux/man-pages/man2/execve.2.html.
_PIECE = 30_000

# A delivery's: an `ExportEnd`, and the kind's settings, both as JSON.
ENV_EXPORT_END = "EXPORT_END"
ENV_DELIVERY_SETTINGS = "EXPORT_DELIVERY_SETTINGS"

# What a Job's container is to do, in ENV_TASK and in `names.LABEL_TASK`.  An export's other values
# come with every task, the target's Secret only with the first, a delivery's own with the delivery.
TASK_EXPORT = "export"
# Remove what attempts of the export left unfinished; report its artifact where one is whole.
TASK_TIDY = "tidy"
# Remove that, and the export's artifact with its manifest; or those of several exports.
TASK_REMOVE = "remove"
# Write, read, sign for, list and remove something small in the storage.
TASK_CHECK = "check-storage"
# Bring what became of the export to its owner, in the way whose name follows.
_TASK_DELIVER = "deliver-"

# The keys of the Secret that the task needs, as files: each well-known key under its own name where
# the Secret has it, and in a directory the keys that `spec.keys` names, each under its part's name
# (the kubelet waits, and says so, while the Secret has no such key).
SECRET_MOUNT = "/secret"
CHOSEN_KEYS = "chosen"

# Logical name -> the keys looked for, first match wins: Service Binding
# (https://servicebinding.io/spec/core/1.1.0/#well-known-secret-entries), then CloudNativePG
# (https://cloudnative-pg.io/documentation/current/applications/#secrets), then cert-manager
# (https://cert-manager.io/docs/concepts/certificate/).
SECRET_KEYS: dict[str, tuple[str, ...]] = {
    # The second has the whole domain name, of which a copy in another namespace has need.
    "uri": ("uri", "fqdn-uri"),
    "host": ("host",),
    "port": ("port",),
    "username": ("username", "user"),
    "password": ("password",),
    "database": ("database", "dbname"),
    "sslmode": ("sslmode",),
    "sslrootcert": ("sslrootcert", "ca.crt"),
    "sslcert": ("sslcert", "tls.crt"),
    "sslkey": ("sslkey", "tls.key"),
}

# A bucket's credentials: each key of its Secret that `storages` names as a file of that name.
STORAGE_MOUNT = "/storage"
# The project's own directory of the volume; nothing above it is mounted.
EXPORTS_MOUNT = "/exports"
# The runner's own small files, in memory for as long as the pod lives.
SCRATCH_MOUNT = "/run/backupexport"
# pg_dump --format=tar first writes each table to a nameless file in /tmp, wherever TMPDIR points:
# a hidden directory of the project's own has room for the largest table, the node may not.
SPOOL_MOUNT = "/tmp"  # noqa: S108 - mounted for this one export
SPOOL_DIRECTORY = ".spool"
TERMINATION_MESSAGE_PATH = "/dev/termination-log"
TERMINATION_MESSAGE_BYTES = 4096
_REMARKS = ("warnings", "restore_hints")
_ALL_PERCENT = 100
# An integer of a resource has 64 bits.
_LARGEST_AMOUNT = 2**63 - 1
_PLACES = ("missing", "failed")


@dataclass(frozen=True, slots=True)
class Selection:
    """What of the database goes into the file; the lists are patterns as pg_dump takes them."""

    content: str = "all"
    include_schemas: tuple[str, ...] = ()
    exclude_schemas: tuple[str, ...] = ()
    include_tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    exclude_table_data: tuple[str, ...] = ()
    owner: bool = True
    privileges: bool = True

    @property
    def is_chosen(self) -> bool:
        """Whether only what an include names is dumped, and nothing that has no schema."""
        return bool(self.include_schemas or self.include_tables)


# Those of its fields that are lists of patterns.
PATTERN_LISTS = (
    "include_schemas", "exclude_schemas", "include_tables", "exclude_tables", "exclude_table_data",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a dump has come; `estimated_bytes` is a guess from the server's table sizes.

    `seconds_left` is a guess, too, None where nobody can tell yet.
    """

    percent: int
    dumped_bytes: int
    estimated_bytes: int
    seconds_left: int | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """What whoever restores the file should know: a word for programs, and a sentence."""

    code: str = "remark"
    message: str = "The manifest beside the file, its name with .json, says more."


# The last remark where there were more than fit.
CODE_MORE = "more_in_manifest"
_MORE = Remark(CODE_MORE, "The manifest beside the file, its name with .json, has the rest.")


@dataclass(frozen=True, slots=True)
class Artifact:
    """The finished file: `path` is relative to the volume's root, sizes are in bytes.

    `sha256` (hex) and `size_bytes` are of the file there, `uncompressed_bytes` is pg_dump's output.
    `restore_with` names the programs that can read it; `warnings` tell what is not in it, and
    `restore_hints` what a restore needs.  `storage` is the name of the storage that has it, `url`
    where it is in a bucket, `encrypted_to` the fingerprints of those who can decrypt it.
    """

    path: str
    size_bytes: int
    uncompressed_bytes: int
    sha256: str
    server_version: str = ""
    dump_version: str = ""
    restore_with: str = ""
    warnings: tuple[Remark, ...] = ()
    restore_hints: tuple[Remark, ...] = ()
    storage: str = ""
    url: str = ""
    encrypted_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The termination message: an artifact, or a sentence on what to do or what was delivered.

    `server_verified` tells, with an artifact, whether its server has shown a certificate that is to
    be trusted; None if nobody knows.  `reason` is that of a failure, in the operator's words, for
    one that doesn't know the exit code.  `missing` and `failed` are of the removal of several
    files: the places, in its list, of those that were not there and of those that are still there.
    """

    artifact: Artifact | None = None
    message: str | None = None
    server_verified: bool | None = None
    reason: str | None = None
    missing: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportEnd:
    """How an export ended, for whoever is told; times are RFC 3339 text.

    `api_url` is where people reach the api, `has_downloads` whether they get files from it,
    `restore_command` what restores the artifact, `contents` what of the database was asked for
    where that is not all of it.
    """

    phase: str
    reason: str | None = None
    message: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    expires_at: str | None = None
    requested_by: str | None = None
    notify_email: str | None = None
    api_url: str | None = None
    has_downloads: bool = False
    artifact: Artifact | None = None
    restore_command: str = ""
    contents: str = ""


def in_pieces(name: str, text: str) -> dict[str, str]:
    """Environment values that `from_pieces` makes `text` of; one may have 128 KiB at most."""
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return {f"{name}_{number}" if number else name: piece for number, piece in enumerate(pieces)}


def from_pieces(name: str, environment: Mapping[str, str]) -> str:
    """The text that `in_pieces` has made pieces of; empty if there is none."""
    pieces = [environment.get(name, "")]
    while piece := environment.get(f"{name}_{len(pieces)}"):
        pieces.append(piece)
    return "".join(pieces)


def recipients_pieces(recipients: Iterable[str]) -> dict[str, str]:
    """Environment values that `read_recipients` reads; none for nobody."""
    listed = list(recipients)
    return in_pieces(ENV_RECIPIENTS, json.dumps(listed)) if listed else {}


def read_recipients(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """To whom the file is encrypted, as `recipients_pieces` has it; None where it can't be read."""
    try:
        listed = json.loads(from_pieces(ENV_RECIPIENTS, environment) or "[]")
        return _read_texts(listed)
    except (ValueError, TypeError, RecursionError):
        return None


def delivery_task(kind: str) -> str:
    """The task that delivers in the way that `kind` names."""
    return _TASK_DELIVER + kind


def delivery_kind(task: str) -> str | None:
    """The kind whose delivery the task is, None for any other task."""
    return task.removeprefix(_TASK_DELIVER) if task.startswith(_TASK_DELIVER) else None


def export_end_text(end: ExportEnd) -> str:
    """One line of JSON."""
    return json.dumps(asdict(end))


def read_export_end(text: str) -> ExportEnd | None:
    """What `export_end_text` wrote, or None."""
    fields = json_object(text) or {}
    artifact = read_artifact(fields.get("artifact"))
    try:
        return ExportEnd(**_known(ExportEnd, fields) | {"artifact": artifact})
    except TypeError:
        return None


def progress_line(progress: Progress, time: str | None = None) -> str:
    """One log line without its newline; `time` is RFC 3339 text, as in every line of the log."""
    head = {"event": "progress"} if time is None else {"time": time, "event": "progress"}
    return json.dumps({**head, "version": VERSION, **asdict(progress)}, separators=(",", ":"))


def read_progress_line(line: str) -> Progress | None:
    """The progress that a log line tells, or None for any other line."""
    fields = json_object(line)
    if fields is None or fields.get("event") != "progress":
        return None
    told = {"dumped_bytes": 0, "estimated_bytes": 0} | fields
    amounts = {name: told.get(name) for name in Progress.__slots__}
    if amounts["seconds_left"] is None:
        del amounts["seconds_left"]
    if not all(map(_is_amount, amounts.values())):
        return None
    progress = Progress(**amounts)  # type: ignore[arg-type] # seen to be numbers
    return progress if progress.percent <= _ALL_PERCENT else None


def outcome_text(outcome: Outcome) -> str:
    """The termination message, cut so that it stays whole JSON within the kubelet's limit."""
    text = _text(outcome)
    if outcome.artifact is not None:
        artifact = outcome.artifact
        while len(text) > TERMINATION_MESSAGE_BYTES and (
            artifact.warnings or artifact.restore_hints
        ):
            artifact = _with_fewer_remarks(artifact)
            text = _text(replace(outcome, artifact=artifact))
        outcome = replace(outcome, artifact=artifact)
    while len(text) > TERMINATION_MESSAGE_BYTES and outcome.message:
        # By parts, because one character can take twelve bytes in JSON.
        shorter = outcome.message[: len(outcome.message) * 9 // 10]
        outcome = replace(outcome, message=shorter)
        text = _text(outcome)
    return text


def _text(outcome: Outcome) -> str:
    fields = {k: v for k, v in asdict(outcome).items() if v or k not in _PLACES}
    return json.dumps({"version": VERSION, **fields})


def _with_fewer_remarks(artifact: Artifact) -> Artifact:
    """The artifact without the last hint, else without the last warning; the manifest has all."""
    if artifact.restore_hints:
        return replace(artifact, restore_hints=_fewer(artifact.restore_hints))
    return replace(artifact, warnings=_fewer(artifact.warnings))


def _fewer(remarks: tuple[Remark, ...]) -> tuple[Remark, ...]:
    kept = [remark for remark in remarks if remark.code != CODE_MORE][:-1]
    return (*kept, _MORE) if kept else ()


def read_outcome(text: str) -> Outcome:
    """What a termination message tells; an empty Outcome where it is not one of ours."""
    fields = json_object(text) or {}
    message, reason = fields.get("message"), fields.get("reason")
    verified = fields.get("server_verified")
    return Outcome(
        read_artifact(fields.get("artifact")),
        message if isinstance(message, str) else None,
        verified if isinstance(verified, bool) else None,
        reason if isinstance(reason, str) else None,
        *(_read_places(fields.get(name)) for name in _PLACES),
    )


def _read_places(listed: Any) -> tuple[int, ...]:
    return tuple(it for it in listed if type(it) is int) if isinstance(listed, list) else ()


def is_of_newer_version(text: str) -> bool:
    """Whether a termination message is of a version after this one."""
    version = (json_object(text) or {}).get("version")
    return isinstance(version, int) and version > VERSION


def read_artifact(fields: Any) -> Artifact | None:
    """The artifact of these fields, or None where one is of another type, or `sha256` missing."""
    if not isinstance(fields, dict):
        return None
    try:
        lists: dict[str, Any] = {name: _read_remarks(fields.get(name) or ()) for name in _REMARKS}
        lists["encrypted_to"] = _read_texts(fields.get("encrypted_to") or [])
        artifact = Artifact(**{"uncompressed_bytes": 0} | _known(Artifact, fields) | lists)
    except TypeError:
        return None
    values = {name: getattr(artifact, name) for name in Artifact.__slots__ if name not in lists}
    is_sound = all(
        _is_amount(value) if name.endswith("_bytes") else isinstance(value, str)
        for name, value in values.items()
    )
    return artifact if is_sound else None


def _is_amount(value: Any) -> bool:
    """Whether it is a whole number that a resource can hold."""
    return type(value) is int and 0 <= value <= _LARGEST_AMOUNT


def _read_texts(listed: Any) -> tuple[str, ...]:
    """Raises TypeError where it is no list of texts."""
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise TypeError
    return tuple(listed)


def _read_remarks(listed: Any) -> tuple[Remark, ...]:
    """Raises TypeError where it is no list of remarks."""
    remarks = tuple(Remark(**_known(Remark, fields)) for fields in listed)
    if not all(isinstance(text, str) for each in remarks for text in (each.code, each.message)):
        raise TypeError
    return remarks


def _known(kind: type[Artifact | Remark | ExportEnd], fields: Any) -> dict[str, Any]:
    """Those of the fields that the kind has.  Raises TypeError where they are no object."""
    if not isinstance(fields, dict):
        raise TypeError
    return {name: value for name, value in fields.items() if name in kind.__slots__}


def selection_text(selection: Selection) -> str:
    """One line of JSON, with what is not as usual."""
    usual = asdict(Selection())
    return json.dumps({k: v for k, v in asdict(selection).items() if v != usual[k]})


def unknown_choices(text: str) -> list[str]:
    """The fields that a newer operator's `selection_text` has, and this version doesn't know."""
    return sorted((json_object(text) or {}).keys() - set(Selection.__slots__))


def read_selection(text: str) -> Selection | None:
    """What `selection_text` wrote, or None; the values are of the right types, no more."""
    fields = json_object(text or "{}")
    try:
        lists = {
            name: tuple(value) for name, value in (fields or {}).items() if isinstance(value, list)
        }
        selection = Selection(**(fields or {}) | lists)
    except TypeError:
        return None
    is_typed = fields is not None and all(
        type(value) is type(usual) and all(isinstance(item, str) for item in _items(value))
        for value, usual in zip(
            asdict(selection).values(), asdict(Selection()).values(), strict=True
        )
    )
    return selection if is_typed else None


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """The JSON object that others wrote, or None where the text is none.

    Half of a surrogate pair, which no resource can hold, becomes a question mark.
    """
    try:
        fields = json.loads(text)
        whole = json.dumps(fields, ensure_ascii=False).encode(errors="replace")
        fields = json.loads(whole)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
