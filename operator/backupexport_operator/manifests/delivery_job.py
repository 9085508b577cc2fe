"""The Job that is one attempt at a delivery; pure."""

import json
from dataclasses import dataclass
from typing import Any

from backupexport_contract import names, runner_protocol, timestamps
from backupexport_contract.backup_export import ArtifactStatus, BackupExport
from backupexport_contract.deliveries import Delivery, conditions_by_kind
from backupexport_contract.reasons import DeliveryReason
from backupexport_contract.runner_protocol import Artifact, ExportEnd

from backupexport_operator.manifests.pod import (
    IGNORE_DISRUPTIONS,
    RunnerDefaults,
    literals,
    runner_job,
)
from backupexport_operator.observed.observation import Observation

_SHORTEST_DEADLINE_SECONDS = 60
_LEAST_TTL_SECONDS = 2 * 3600
# Settings that only the operator acts on.
_NOT_FOR_THE_RUNNER = {"enabled", "giveUpSeconds"}


@dataclass(frozen=True, slots=True)
class PublicApi:
    """Where people reach the api, None if that isn't known, and whether it hands out files."""

    url: str | None = None
    has_downloads: bool = False


def delivery_manifest(
    seen: Observation,
    kind: str,
    settings: Delivery,
    defaults: RunnerDefaults,
    public_api: PublicApi,
) -> dict[str, Any]:
    """Returns a batch/v1 Job, which gets the delivery's Secret and not the target's."""
    end = _export_end(seen.export, settings, public_api)
    manifest = settings.to_manifest()
    for_runner = {key: manifest[key] for key in manifest if key not in _NOT_FOR_THE_RUNNER}
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
                runner_protocol.ENV_DELIVERY_SETTINGS: json.dumps(for_runner),
            }
        ),
        secret_name=settings.secret_ref.name if settings.secret_ref else None,
        has_volume=settings.reads_file,
    )


def _deadline_seconds(seen: Observation, kind: str, settings: Delivery) -> int:
    """Returns the seconds until it is given up: at least 60, at most an attempt's own."""
    known = conditions_by_kind(seen.export.status).get(kind)
    if known is not None and known.reason == DeliveryReason.PENDING:
        # The first attempt has all its time, however late an outage of the operator makes it.
        left = settings.give_up_seconds
    else:
        ended = timestamps.from_text(seen.export.status.completion_time or seen.export.created_at)
        left = settings.give_up_seconds - int((seen.now - ended).total_seconds())
    left = max(left, _SHORTEST_DEADLINE_SECONDS)
    return min(left, settings.attempt_seconds or left)


def _export_end(export: BackupExport, settings: Delivery, public_api: PublicApi) -> ExportEnd:
    status = export.status
    requested_by = export.metadata.annotations.get(names.ANNOTATION_REQUESTED_BY)
    # Only a mail may tell who asked, and at which address.
    is_asked_for = settings.is_asked_for(export.spec)
    return ExportEnd(
        phase=export.phase,
        reason=status.reason,
        message=status.message,
        started_at=status.start_time,
        completed_at=status.completion_time,
        expires_at=status.expiration_time,
        requested_by=requested_by if is_asked_for else None,
        notify_email=export.spec.notify_email if is_asked_for else None,
        api_url=public_api.url,
        has_downloads=public_api.has_downloads,
        artifact=_artifact(status.artifact) if status.artifact else None,
    )


def _artifact(artifact: ArtifactStatus) -> Artifact:
    return Artifact(**{name: getattr(artifact, name) for name in Artifact.__slots__})
