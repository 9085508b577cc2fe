"""An export's conditions through its life, and what kstatus, Argo CD and Flux make of them."""

from itertools import pairwise
from typing import Any

import builders
import pytest
from backupexport_contract.reasons import Phase
from backupexport_operator.target.decision import wanted_status
from decided_exports import stages
from health_verdicts import Verdict, verdicts

STAGES = dict(stages())
DECIDED = [name for name, export in STAGES.items() if export.status.conditions]


def conditions(name: str) -> dict[str, Any]:
    return {condition.type: condition for condition in STAGES[name].status.conditions}


@pytest.mark.parametrize("name", DECIDED)
def test_the_conditions_of_a_phase_are_there_while_false_too(name: str) -> None:
    told = {kind: condition.status for kind, condition in conditions(name).items()}
    phase = STAGES[name].phase
    expected = {
        "Complete": str(phase is Phase.SUCCEEDED),
        "Failed": str(phase is Phase.FAILED),
        "Cancelled": str(phase is Phase.CANCELLED),
        "Ready": str(phase is Phase.SUCCEEDED) if phase.is_finished else "Unknown",
    }
    if not phase.is_finished:
        expected["Reconciling"] = "True"
    if phase in (Phase.FAILED, Phase.CANCELLED):
        expected["Stalled"] = "True"
    others = {"Accepted", "Notified"}
    assert {kind: told[kind] for kind in told.keys() - others} == expected


@pytest.mark.parametrize("name", DECIDED)
def test_ready_says_why_not_yet(name: str) -> None:
    status, ready = STAGES[name].status, conditions(name)["Ready"]
    assert ready.reason == (status.reason or status.phase)
    assert ready.message
    assert status.message in (None, ready.message)


def test_a_conditions_time_is_that_of_its_statuss_last_change() -> None:
    names = list(STAGES)
    life = names[names.index("queued") : names.index("succeeded") + 1]
    for before, after in pairwise(life):
        for kind, condition in conditions(after).items():
            was = conditions(before).get(kind)
            if was is not None and was.status == condition.status:
                assert condition.last_transition_time == was.last_transition_time, (after, kind)
            else:
                assert condition.last_transition_time > "2026-01-29T15:31:30", (after, kind)
                assert after in ("queued", "accepted", "succeeded")


@pytest.mark.parametrize("name", DECIDED)
def test_a_status_is_of_the_generation_that_it_was_computed_from(name: str) -> None:
    status = STAGES[name].status
    generation = 2 if name == "cancelled" else 1
    assert status.observed_generation == generation
    assert {c.observed_generation for c in status.conditions} == {generation}


@pytest.fixture(scope="module")
def told() -> dict[str, Verdict]:
    manifests = [builders.plain(export) for export in STAGES.values()]
    return dict(zip(STAGES, verdicts(manifests), strict=True))


@pytest.mark.parametrize("name", STAGES)
def test_what_tools_wait_for(told: dict[str, Verdict], name: str) -> None:
    export, verdict = STAGES[name], told[name]
    said = (verdict.kstatus, verdict.argo, verdict.flux)
    if name == "unseen":
        # kstatus takes what has no conditions for done; Flux waits where an expression fails.
        assert said == ("Current", "Progressing", "")
        assert "status" in verdict.flux_error
    elif export.phase is Phase.SUCCEEDED:
        assert said == ("Current", "Healthy", "Current")
        assert builders.ARTIFACT.path in verdict.argo_message
    elif export.phase.is_finished:
        assert said == ("Failed", "Degraded", "Failed")
        assert str(export.status.message) in verdict.kstatus_message
        assert str(export.status.message) in verdict.argo_message
    else:
        assert said == ("InProgress", "Progressing", "InProgress")
        assert (export.status.reason or "") in verdict.argo_message


OLD: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "Succeeded": ({"artifact": builders.ARTIFACT_STATUS}, "Complete", "Healthy", "Current"),
    "Failed": ({"reason": "DumpFailed", "message": "No."}, "Failed", "Degraded", "Failed"),
    "Cancelled": ({"reason": "Cancelled", "message": "No."}, "Failed", "Degraded", "Failed"),
    "Running": ({}, "Accepted", "Progressing", "InProgress"),
}


def test_the_shipped_checks_know_exports_of_an_older_version() -> None:
    """These have one condition for their end, and none that kstatus knows."""
    old = [
        builders.export_manifest(
            status={
                "phase": phase,
                "observedGeneration": 1,
                "conditions": [builders.condition(kind, "True", "Why")],
                **fields,
            }
        )
        for phase, (fields, kind, _, _) in OLD.items()
    ]
    said = [(each.argo, each.flux) for each in verdicts(old)]
    assert said == [(argo, flux) for _, _, argo, flux in OLD.values()]


def test_what_tools_make_of_targets() -> None:
    ready, suspended = builders.target(), builders.target(suspend=True)
    newer = builders.target("p", "u", "2026-01-02T00:00:00Z")
    unseen = builders.target("p", "v")
    forbidden = builders.target(secretRef={"name": "own"})
    decided = [
        each.model_copy(update={"status": wanted_status(each, [ready], builders.STORAGES, ["own"])})
        for each in (ready, suspended, newer, forbidden)
    ]
    changed = ready.metadata.model_copy(update={"generation": 2})
    outdated = decided[0].model_copy(update={"metadata": changed})
    targets = [*decided, outdated, unseen]
    said = [(each.argo, each.flux) for each in verdicts(map(builders.plain, targets))]
    assert said == [
        ("Healthy", "Current"),
        ("Suspended", "Current"),
        ("Degraded", "Failed"),
        ("Degraded", "Failed"),
        ("Progressing", "InProgress"),
        ("Progressing", ""),
    ]
