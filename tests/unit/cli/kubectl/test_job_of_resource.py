"""A BackupExport is shown by this command line as by the api: in all its states, whatever it has.

The api's own view is the expected value of each case.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import builders
import pytest
from backupexport_api.jobs.view import job_view
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl import job_of_resource
from backupexport_cli.kubectl.job_of_resource import job_of
from backupexport_contract import names
from backupexport_contract.backup_export import (
    BackupExport,
    BackupExportSpec,
    ExportOptions,
    TargetExcludes,
)
from backupexport_contract.deliveries import Deliveries
from decided_exports import stages

ROOT = Path(__file__).parents[4]
RECIPIENT = "age1" + "q" * 58
UUID = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
PATH = "p/20260129T153000Z-0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
ALL_LISTS = {
    "includeSchemas": ["a"], "excludeSchemas": ["b"], "includeTables": ["c"],
    "excludeTables": ["d", "e"], "excludeTableData": ["f"],
}  # fmt: skip


def artifact(ending: str = "sql.zst", **fields: Any) -> dict[str, Any]:
    return {"artifact": {**builders.ARTIFACT_STATUS, "path": f"{PATH}.{ending}", **fields}}


def told(kind: str, status: str) -> dict[str, Any]:
    return builders.condition(kind, status, "Why", "So.", "2026-01-29T15:31:00Z")


CASES: dict[str, dict[str, Any]] = {
    "named by a uuid": builders.export_manifest(UUID),
    "named by a person": builders.export_manifest(uid=UUID),
    "annotated": builders.export_manifest(
        annotations={
            names.ANNOTATION_REQUESTED_BY: "alice",
            names.ANNOTATION_CREATED_AT: "2026-01-29T15:30:00.123Z",
        }
    ),
    "an odd time": builders.export_manifest(annotations={names.ANNOTATION_CREATED_AT: "today"}),
    "another zone": builders.export_manifest(
        annotations={names.ANNOTATION_CREATED_AT: "2026-01-29T16:30:00+01:00"}
    ),
    "no status": {k: v for k, v in builders.export_manifest().items() if k != "status"},
    "everything asked for": builders.export_manifest(
        spec={
            **ALL_LISTS, "format": "tar", "content": "data", "owner": False, "privileges": False,
            "compression": "gzip", "storagePath": "a/b", "notifyEmail": "a@example.com",
            "cancel": True, "encryptTo": [RECIPIENT],
        }
    ),
    "not compressed": builders.export_manifest(spec={"compress": False}),
    "what the target leaves out": builders.export_manifest(
        spec=ALL_LISTS,
        status={
            "targetExcludes": {
                "excludeSchemas": ["b", "x"], "excludeTables": ["y"], "excludeTableData": ["f"],
            }
        },
    ),
    "progress": builders.export_manifest(
        status={
            "phase": "Running",
            "startTime": "2026-01-29T15:30:05Z",
            "progress": {
                "percent": 42, "dumpedBytes": 123, "estimatedBytes": 456, "display": "42%",
            },
        }
    ),
    "progress with the time left": builders.export_manifest(
        status={
            "progress": {
                "percent": 42, "dumpedBytes": 123, "estimatedBytes": 456, "display": "42%",
                "secondsLeft": 7, "displayLeft": "7 s",
            }
        }
    ),
    "an error without a message": builders.export_manifest(status={"reason": "Internal"}),
    "a message without an error": builders.export_manifest(status={"message": "Its turn comes."}),
    "remarks": builders.export_manifest(
        status={
            "warnings": [{"code": "objects_left_out", "message": "Without a."}],
            "restoreHints": [{"code": "missing_roles", "message": "It wants b."}],
        }
    ),
    **{
        f"{kind} is {status}": builders.export_manifest(status={"conditions": [told(kind, status)]})
        for kind in ("Notified", "Delivered", "Complete")
        for status in ("True", "False", "Unknown")
    },
    **{
        f"phase {phase}": builders.export_manifest(
            status={"phase": phase, "completionTime": "2026-01-29T15:31:00.5Z"}
        )
        for phase in ("Pending", "Running", "Succeeded", "Failed", "Cancelled")
    },
    **{
        f"a file {ending}": builders.export_manifest(
            spec=spec, status={"phase": "Succeeded", **artifact(ending)}
        )
        for ending, spec in dict[str, dict[str, Any]](
            {
            "sql": {"compress": False},
            "sql.gz": {"compression": "gzip"},
            "sql.zst": {},
            "tar": {"format": "tar", "compress": False},
            "tar.zst": {"format": "tar", "owner": False},
            "dump": {"format": "custom", "privileges": False},
            "sql.zst.age": {"encryptTo": [RECIPIENT]},
            }
        ).items()
    },
    "a file with all that is told": builders.export_manifest(
        status=artifact(
            serverVersion="15.2", restoreWith="psql", storage="default", encryptedTo=["SHA256:a"],
            claim="c", url="s3://b/p",
        )
    ),
}  # fmt: skip
for stage, decided in stages():
    CASES[f"decided: {stage}"] = builders.plain(decided)


@pytest.mark.parametrize("resource", CASES.values(), ids=CASES.keys())
def test_it_is_what_the_api_shows(resource: dict[str, Any]) -> None:
    shown = job_view(BackupExport.model_validate(resource))
    assert job_of(resource) == json.loads(shown.model_dump_json())


def test_the_defaults_are_those_of_the_schema() -> None:
    defaults = BackupExportSpec(project_id="p").to_manifest()
    for name in ("projectId", "cancel", "artifactPolicy"):
        del defaults[name]
    assert defaults == job_of_resource.SPEC_DEFAULTS


def test_every_kind_of_delivery_is_known() -> None:
    kinds = Deliveries.kinds()
    mails = [form.condition_type for form in kinds.values() if form.is_notification]
    assert mails == [job_of_resource._MAIL]
    others = {kind: f.condition_type for kind, f in kinds.items() if not f.is_notification}
    assert others == job_of_resource._DELIVERIES


def test_fields_are_spelled_as_the_resource_spells_them() -> None:
    for name in ExportOptions.model_fields:
        assert job_of_resource.camel_case(name) == (BackupExportSpec.model_fields[name].alias)
    assert tuple(TargetExcludes.model_fields) == job_of_resource._TARGET_LISTS


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"metadata": {"name": "a", "uid": "u"}, "spec": {}},
        builders.export_manifest(status={"phase": "Exploded"}),
        builders.export_manifest(status={"startTime": "noon"}),
        builders.export_manifest(status={"conditions": "none"}),
        builders.export_manifest(status={"artifact": {}}),
    ],
)
def test_what_another_version_wrote_is_an_error_in_words(resource: dict[str, Any]) -> None:
    with pytest.raises(CliError) as raised:
        job_of(resource)
    assert raised.value.exit_code == ExitCode.FAILED
    assert "Upgrade" in raised.value.advice


def test_it_needs_no_pydantic() -> None:
    code = (
        "import sys, backupexport_cli.kubectl.job_of_resource;"
        "assert not {'pydantic', 'httpx', 'typer'} & sys.modules.keys()"
    )
    path = f"{ROOT / 'cli'}:{ROOT / 'crds'}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
