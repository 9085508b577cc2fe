"""The Jobs that make an export's file, deliver it, and clean up after it; pure."""

import functools
import json
import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from backupexport_contract import names, reasons, runner_protocol, timestamps
from backupexport_contract.backup_export import BackupExport, selection_of
from backupexport_contract.deliveries import Delivery, conditions_by_kind
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.readable import readable_selection
from backupexport_contract.reasons import DeliveryReason, Reason
from backupexport_contract.restore_commands import restore_command
from backupexport_contract.runner_protocol import (
    TASK_CHECK,
    TASK_REMOVE,
    ExportEnd,
    Remark,
    Selection,
)

from backupexport_operator.manifests.parts import literals, secret_volume
from backupexport_operator.manifests.pod import (
    IGNORE_DISRUPTIONS,
    LABEL_INSTANCE,
    JobSettings,
    job_without_export,
    runner_job,
)
from backupexport_operator.manifests.storage_access import (
    StorageAccess,
    spool_access,
    storage_access,
)
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.places import Place, recorded_place


def _on_exit_codes(action: str, codes: Iterable[reasons.ExitCode]) -> dict[str, Any]:
    values = sorted(int(code) for code in codes)
    on = {"containerName": names.RUNNER_CONTAINER, "operator": "In", "values": values}
    return {"action": action, "onExitCodes": on}


# https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy: the first
# rule that matches wins, and what none matches counts against backoffLimit.
_POD_FAILURE_POLICY = {
    "rules": [
        IGNORE_DISRUPTIONS,
        _on_exit_codes("Ignore", reasons.NOT_YET_EXIT_CODES),
        _on_exit_codes("FailJob", reasons.FATAL_EXIT_CODES),
    ]
}

_POD_NAME = {
    "name": runner_protocol.ENV_POD_NAME,
    "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
}

_SHORTEST_DEADLINE_SECONDS = 60
_LEAST_TTL_SECONDS = 2 * 3600
# Settings that only the operator acts on.
_NOT_FOR_THE_RUNNER = {"enabled", "giveUpSeconds", "allowedDomains", "maxPerHour"}

# Whose messages are ours alone; any other may repeat what a server, or its owner, said.
_NEVER_QUOTING = (None, Reason.CANCELLED, Reason.TARGET_NOT_FOUND)
_WITHHELD_REMARKS = (
    "Whoever may see this job finds them there, over REST or on the web page: mails to addresses "
    "of this domain don't name what is in a database."
)
_WITHHELD_CONTENTS = "Not all of the database; over REST and on the web page the job says what"
_LONGEST_CONTENTS = 1000
_WITHHELD = (
    "Whoever may see this job finds the cause there, over REST or on the web page: mails to "
    "addresses of this domain don't repeat what servers say."
)

# A volume may still have to be made.
_CHECK_DEADLINE_SECONDS = 300
# No project has such an id.
_CHECK_DIRECTORY = ".check"
_CLEANUP_ATTEMPTS = 3
# An export that has failed says so after its cleanup (see also export_files.CLEANUP_PAUSE).
_CLEANUP_DEADLINE_SECONDS = 180
_CLEANUP_TTL_SECONDS = 600
# A complete one says that the file is gone, for as long as a mail may keep the resource.
_REMOVAL_TTL_SECONDS = 8 * 24 * 3600


def job_manifest(
    export: BackupExport,
    target: ExportTarget,
    defaults: JobSettings,
    place: Place,
    stored_limit: int | None = None,
    room_bytes: int | None = None,
) -> dict[str, Any]:
    """Returns a batch/v1 Job, which gets the target's Secret and the storage at `place`.

    The recipients in the export's status are the target's already.
    `stored_limit` is how much the project's files may take, `room_bytes` how much of it those that
    the operator knows of leave; None for no limit.
    """
    accesses = [_access(export, place, defaults)]
    if export.spec.format == "tar":
        accesses.append(spool_access(place, defaults.spool, export.spec.project_id))
    return runner_job(
        export,
        runner_protocol.TASK_EXPORT,
        defaults,
        {
            "backoffLimit": defaults.backoff_limit,
            "activeDeadlineSeconds": (
                export.spec.active_deadline_seconds
                or target.spec.active_deadline_seconds
                or defaults.active_deadline_seconds
            ),
            "ttlSecondsAfterFinished": defaults.ttl_seconds_after_finished,
            "podFailurePolicy": _POD_FAILURE_POLICY,
            # A pod that is being deleted still writes: another one may start when it has ended.
            "podReplacementPolicy": "Failed",
        },
        target=target,
        env=[
            _POD_NAME,
            *_selection(export, target),
            *literals(runner_protocol.recipients_pieces(export.recipients)),
            *_environment(target, defaults),
            *_limits(target, defaults, stored_limit, room_bytes),
            *([] if place.is_bucket else _reserve(defaults)),
        ],
        secret=_target_secret(target),
        accesses=accesses,
    )


def _access(export: BackupExport, place: Place, defaults: JobSettings) -> StorageAccess:
    """Returns the access to what the export has at `place`: of a volume its project's directory."""
    directories = {runner_protocol.EXPORTS_MOUNT: export.spec.project_id}
    return storage_access(place, defaults.storages, directories)


def _reserve(defaults: JobSettings) -> list[dict[str, Any]]:
    return literals({runner_protocol.ENV_RESERVE: defaults.storage_reserve})


def _selection(export: BackupExport, target: ExportTarget) -> list[dict[str, Any]]:
    selection = selection_of(export.spec, target.spec)
    if selection == Selection():
        return []
    text = runner_protocol.selection_text(selection)
    return literals(runner_protocol.in_pieces(runner_protocol.ENV_SELECTION, text))


def _environment(target: ExportTarget, defaults: JobSettings) -> list[dict[str, Any]]:
    said, connection = _said(target), target.spec.connection
    texts = [
        runner_protocol.in_pieces(runner_protocol.ENV_CONNECTION[part], text)
        for part, text in said.items()
    ]
    attributes = connection.target_session_attrs if connection else None
    names_and_attributes = {
        runner_protocol.ENV_SECRET_NAME: target.spec.secret_ref.name,
        runner_protocol.ENV_TARGET_SESSION_ATTRS: attributes,
        runner_protocol.ENV_REQUIRE_VERIFIED_TLS: "1" if defaults.require_verified_tls else None,
    }
    return literals(functools.reduce(operator.or_, texts, names_and_attributes))


def _said(target: ExportTarget) -> dict[str, str]:
    """Returns the parts of the connection that the target says itself."""
    given = target.spec.connection.to_manifest() if target.spec.connection else {}
    of_spec = {"sslmode": target.spec.sslmode, "sslrootcert": target.spec.sslrootcert}
    parts = of_spec | given
    return {part: str(parts[part]) for part in runner_protocol.ENV_CONNECTION if parts.get(part)}


def _target_secret(target: ExportTarget) -> dict[str, Any]:
    """Returns the volume with what the target doesn't say itself, under whatever keys."""
    said = _said(target)
    chosen = target.spec.keys.to_manifest() if target.spec.keys else {}
    parts = [part for part in runner_protocol.SECRET_KEYS if part not in said | chosen]
    return secret_volume(
        target.spec.secret_ref.name,
        [key for part in parts for key in runner_protocol.SECRET_KEYS[part]],
        {part: key for part, key in chosen.items() if part not in said},
    )


def _limits(
    target: ExportTarget,
    defaults: JobSettings,
    stored_limit: int | None,
    room_bytes: int | None,
) -> list[dict[str, Any]]:
    limits = {
        runner_protocol.ENV_MAX_BYTES: target.spec.max_bytes or defaults.max_bytes,
        runner_protocol.ENV_MAX_STORED_BYTES: stored_limit,
        runner_protocol.ENV_ROOM_BYTES: room_bytes,
        runner_protocol.ENV_MAX_SPOOL_BYTES: defaults.max_spool_bytes,
    }
    return literals({name: str(most) for name, most in limits.items() if most is not None})


def delivery_manifest(
    seen: Observation, kind: str, settings: Delivery, defaults: JobSettings
) -> dict[str, Any]:
    """Returns a batch/v1 Job, which gets the delivery's Secret and not the target's."""
    end = _export_end(seen.export, settings, defaults)
    manifest = settings.to_manifest()
    for_runner = {key: manifest[key] for key in manifest if key not in _NOT_FOR_THE_RUNNER}
    place = recorded_place(seen.export, defaults.storages, defaults.chart_claim)
    return runner_job(
        seen.export,
        runner_protocol.delivery_task(kind),
        defaults,
        {
            # The operator makes the next attempt, with a Job of its own.
            "backoffLimit": 0,
            "activeDeadlineSeconds": _deadline_seconds(seen, kind, settings),
            # The operator must see how it ended, and when it failed, to time the next attempt.
            "ttlSecondsAfterFinished": max(defaults.ttl_seconds_after_finished, _LEAST_TTL_SECONDS),
            "podFailurePolicy": {"rules": [IGNORE_DISRUPTIONS]},
            # Two pods of one delivery would send everything twice.
            "podReplacementPolicy": "Failed",
        },
        target=seen.target,
        env=literals(
            {
                runner_protocol.ENV_EXPORT_END: runner_protocol.export_end_text(end),
                **runner_protocol.in_pieces(
                    runner_protocol.ENV_DELIVERY_SETTINGS, json.dumps(for_runner)
                ),
            }
        ),
        secret=(
            secret_volume(settings.secret_ref.name, settings.secret_keys)
            if settings.secret_ref
            else None
        ),
        accesses=[_access(seen.export, place, defaults)] if settings.reads_file else [],
    )


def _deadline_seconds(seen: Observation, kind: str, settings: Delivery) -> int:
    """Returns the seconds until it is given up: at least 60, at most an attempt's own."""
    known = conditions_by_kind(seen.export.status).get(kind)
    if known is not None and known.reason == DeliveryReason.PENDING:
        # The first attempt has all its time, however late an outage of the operator makes it.
        left = settings.give_up_seconds
    else:
        status = seen.export.status
        # Its own time is the control plane's; that of the export's end may be a node's.
        since = known.last_transition_time if known else status.completion_time
        ended = timestamps.from_text(since or seen.export.created_at)
        left = settings.give_up_seconds - int((seen.now - ended).total_seconds())
    left = max(left, _SHORTEST_DEADLINE_SECONDS)
    return min(left, settings.attempt_seconds or left)


def _export_end(export: BackupExport, settings: Delivery, defaults: JobSettings) -> ExportEnd:
    status = export.status
    requested_by = export.metadata.annotations.get(names.ANNOTATION_REQUESTED_BY)
    # Only a mail may tell who asked, and at which address.
    is_asked_for = settings.is_asked_for(export.spec)
    may_quote_server = settings.may_quote_servers(export.spec)
    may_quote = status.reason in _NEVER_QUOTING or may_quote_server
    artifact = status.recorded_artifact
    storage = recorded_place(export, defaults.storages, defaults.chart_claim).storage
    if artifact and not may_quote_server:
        # They name objects of the database.
        artifact = replace(
            artifact,
            warnings=_withheld(artifact.warnings),
            restore_hints=_withheld(artifact.restore_hints),
        )
    return ExportEnd(
        phase=export.phase,
        reason=status.reason,
        message=status.message if may_quote else _WITHHELD,
        started_at=status.start_time,
        completed_at=status.completion_time,
        expires_at=status.expiration_time,
        requested_by=requested_by if is_asked_for else None,
        notify_email=export.spec.notify_email if is_asked_for else None,
        api_url=defaults.public_url,
        has_downloads=storage in defaults.downloads,
        artifact=artifact,
        restore_command=restore_command(export.dump_file) if export.dump_file else "",
        contents=_contents(export, may_name=may_quote_server),
    )


def _contents(export: BackupExport, *, may_name: bool) -> str:
    words = readable_selection(selection_of(export.spec, export.status.target_excludes))
    # A caller could have any address told anything, by a pattern.
    return words[:_LONGEST_CONTENTS] if may_name or not words else _WITHHELD_CONTENTS


def _withheld(remarks: tuple[Remark, ...]) -> tuple[Remark, ...]:
    return (Remark("withheld", _WITHHELD_REMARKS),) if remarks else ()


def cleanup_manifest(
    export: BackupExport, task: str, defaults: JobSettings, place: Place, *, is_owned: bool = True
) -> dict[str, Any]:
    """Returns a batch/v1 Job for `task` at `place`; it gets no Secret of the target's.

    `is_owned` is false if the export is gone already; the Job is then deleted by its TTL alone.
    """
    is_kept = is_owned and task == TASK_REMOVE
    spec = {
        "backoffLimit": _CLEANUP_ATTEMPTS - 1,
        "activeDeadlineSeconds": _CLEANUP_DEADLINE_SECONDS,
        "ttlSecondsAfterFinished": _REMOVAL_TTL_SECONDS if is_kept else _CLEANUP_TTL_SECONDS,
    }
    job = runner_job(export, task, defaults, spec, accesses=[_access(export, place, defaults)])
    if not is_owned:
        del job["metadata"]["ownerReferences"]
        # Argo CD may delete what has this label and no owner.
        job["metadata"]["labels"].pop(LABEL_INSTANCE, None)
    return job


def removal_manifest(
    exports: Sequence[BackupExport], place: Place, defaults: JobSettings
) -> dict[str, Any]:
    """Returns a batch/v1 Job that removes the files of these exports, which are all at `place`.

    Its name follows from them, so that none is made twice.
    """
    uids = [export.metadata.uid for export in exports]
    paths = json.dumps([export.path for export in exports])
    projects = sorted({export.spec.project_id for export in exports})
    return job_without_export(
        names.removal_batch_name(place.root, uids),
        TASK_REMOVE,
        defaults,
        {
            "backoffLimit": _CLEANUP_ATTEMPTS - 1,
            "activeDeadlineSeconds": _CLEANUP_DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": _REMOVAL_TTL_SECONDS,
        },
        env=literals(runner_protocol.in_pieces(runner_protocol.ENV_FILES, paths)),
        # Its runner sees their projects' directories, each under the project's id.
        access=storage_access(
            place,
            defaults.storages,
            {f"{runner_protocol.EXPORTS_MOUNT}/{project}": project for project in projects},
        ),
        label=names.LABEL_BATCH,
        annotations={names.ANNOTATION_EXPORTS: ",".join(uids)},
    )


def storage_check_manifest(place: Place, defaults: JobSettings) -> dict[str, Any]:
    """Returns a batch/v1 Job that checks the storage at `place`.

    Of a volume it sees a directory of its own, and no project's.  Its name follows from all that it
    has: a Job can't be changed, and other settings, or another image, are checked anew.
    """
    make = functools.partial(
        job_without_export,
        task=TASK_CHECK,
        defaults=defaults,
        label=names.LABEL_CHECK,
        spec={
            "backoffLimit": _CLEANUP_ATTEMPTS - 1,
            "activeDeadlineSeconds": _CHECK_DEADLINE_SECONDS,
            "podFailurePolicy": {
                "rules": [IGNORE_DISRUPTIONS, _on_exit_codes("FailJob", reasons.FATAL_EXIT_CODES)]
            },
        },
        access=storage_access(
            place, defaults.storages, {runner_protocol.EXPORTS_MOUNT: _CHECK_DIRECTORY}
        ),
    )
    return make(names.storage_check_name(json.dumps(make(""), sort_keys=True)))
