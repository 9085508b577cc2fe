"""Patches, conditions and Events."""

from typing import Any

import builders
import pytest
from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.kubernetes_model import Condition
from backupexport_operator.manifests.events import events_between
from backupexport_operator.manifests.status import merge_patch, with_condition


def status(**fields: Any) -> BackupExportStatus:
    return BackupExportStatus.model_validate(fields)


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"phase": "Pending"}, {"phase": "Pending"}, {}),
        ({}, {"phase": "Pending"}, {"phase": "Pending"}),
        (
            {"phase": "Pending", "reason": "Unschedulable"},
            {"phase": "Running"},
            {"phase": "Running", "reason": None},
        ),
    ],
)
def test_a_patch_holds_what_changed_and_nulls_what_went(old: Any, new: Any, patch: Any) -> None:
    assert merge_patch(status(**old), status(**new)) == patch


def condition(state: str, since: str) -> Condition:
    return Condition.model_validate(builders.condition("Ready", state, "R", since=since))


@pytest.mark.parametrize(("state", "since"), [("True", "then"), ("False", "now")])
def test_a_conditions_time_moves_only_with_its_status(state: str, since: str) -> None:
    (only,) = with_condition([condition("True", "then")], condition(state, "now"))
    assert only.last_transition_time == since


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"phase": "Pending", "jobName": "j"}, [("Normal", "Accepted")]),
        ({"phase": "Pending"}, {"phase": "Running"}, [("Normal", "Started")]),
        ({"phase": "Running"}, {"phase": "Running"}, []),
        ({"phase": "Running"}, {"phase": "Succeeded", "artifact": builders.ARTIFACT_STATUS},
         [("Normal", "Completed")]),
        ({"phase": "Pending"}, {"phase": "Pending", "reason": "Unschedulable"},
         [("Warning", "Unschedulable")]),
        ({"phase": "Running", "reason": "DumpFailed", "message": "m"},
         {"phase": "Failed", "reason": "DumpFailed", "message": "m"}, [("Warning", "DumpFailed")]),
        ({"phase": "Running"}, {"phase": "Cancelled", "reason": "Cancelled"},
         [("Normal", "Cancelled")]),
    ],
)  # fmt: skip
def test_events_tell_the_step(old: Any, new: Any, expected: Any) -> None:
    told = [(event.type, event.reason) for event in events_between(status(**old), status(**new))]
    assert told == expected
