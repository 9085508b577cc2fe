"""Patches, conditions and Events."""

from typing import Any

import builders
import pytest
from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.kubernetes_model import Condition, KubernetesModel
from backupexport_operator.manifests.events import events_between
from backupexport_operator.manifests.status import merge_patch, with_condition
from hypothesis import example, given
from hypothesis import strategies as st


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


class Nested(KubernetesModel):
    """A status whose part may have any keys."""

    part: dict[str, Any] | None = None


def apply(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as it is printed there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


values = st.recursive(
    st.booleans() | st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
parts = st.none() | st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(parts, parts)
@example({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}})
@example({"a": {"b": 1}}, {"a": {}})
def test_the_patch_makes_the_new_status_of_the_old(old: Any, new: Any) -> None:
    patch = merge_patch(Nested(part=old), Nested(part=new))
    assert apply(Nested(part=old).to_manifest(), patch) == Nested(part=new).to_manifest()


def test_the_patch_names_what_differs_alone() -> None:
    old, new = {"a": {"b": 1, "c": [1]}, "d": {}}, {"a": {"b": 1, "c": [2]}, "d": {}}
    assert merge_patch(Nested(part=old), Nested(part=new)) == {"part": {"a": {"c": [2]}}}


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
