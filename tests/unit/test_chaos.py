"""The chaos run can be repeated, and can fail: its schedule and its judgement."""

from collections import Counter
from dataclasses import replace
from typing import Any

import chaos_verdict as verdict
import pytest
from chaos_callers import Delivery
from chaos_databases import read_outages
from chaos_evaluation import read_export
from chaos_faults import choose
from chaos_processes import is_container_of
from chaos_projects import PROJECTS
from chaos_schedule import (
    FORMATS,
    NODE_FAULTS,
    POD_FAULTS,
    Fault,
    Manner,
    chosen_faults,
    orders,
    strikes,
)
from chaos_verdict import Accepted, Artifact, Expectation, Export, File, Outage
from chaos_watch import Ledger

ALL_FAULTS = POD_FAULTS + NODE_FAULTS


def test_a_schedule_follows_from_its_seed_alone() -> None:
    assert strikes(3, 200, 30, ALL_FAULTS) == strikes(3, 200, 30, ALL_FAULTS)
    assert orders(3, 200, 50, 5, PROJECTS) == orders(3, 200, 50, 5, PROJECTS)
    assert strikes(3, 200, 30, ALL_FAULTS) != strikes(4, 200, 30, ALL_FAULTS)
    assert orders(3, 200, 50, 5, PROJECTS) != orders(4, 200, 50, 5, PROJECTS)


@pytest.mark.parametrize("seed", range(20))
def test_every_fault_comes_and_none_too_late(seed: int) -> None:
    planned = strikes(seed, 200, 30, ALL_FAULTS)
    assert len(planned) == 30
    assert {strike.fault for strike in planned} == set(ALL_FAULTS)
    seconds = [strike.second for strike in planned]
    assert seconds == sorted(seconds)
    assert 0 <= seconds[0] < 10
    assert 190 < seconds[-1] <= 200
    assert all(0 < strike.seconds < 10 for strike in planned)


def test_a_short_schedule_has_what_there_is_room_for() -> None:
    assert len({strike.fault for strike in strikes(1, 45, 5, ALL_FAULTS)}) == 5


@pytest.mark.parametrize("seed", range(20))
def test_orders_are_of_all_projects_formats_and_callers(seed: int) -> None:
    wanted = orders(seed, 180, 50, 5, PROJECTS)
    assert len({order.key for order in wanted}) == 50
    assert Counter(order.caller for order in wanted) == dict.fromkeys(range(5), 10)
    sound = {project.name for project in PROJECTS if project.has_database}
    fields = [dict(order.fields) for order in wanted]
    for dump_format in FORMATS:
        alike = [each for each in fields if dump_format.items() <= each.items()]
        assert len({each["project_id"] for each in alike} & sound) >= 3
    for project in sound:
        formats = {each["format"] for each in fields if each["project_id"] == project}
        assert formats == {"sql", "tar"}
    assert {"storage_path" in each for each in fields} == {True, False}
    assert [order.second for order in wanted] == sorted(order.second for order in wanted)


def test_faults_of_the_whole_cluster_can_be_left_out() -> None:
    assert chosen_faults("all", is_native=True) == ALL_FAULTS
    assert chosen_faults("pods", is_native=True) == POD_FAULTS
    elsewhere = chosen_faults("all", is_native=False)
    assert Fault("database", Manner.FORCE) in elsewhere
    assert {fault.manner for fault in elsewhere} == {Manner.DELETE, Manner.FORCE}
    with pytest.raises(ValueError, match="known are"):
        chosen_faults("pod", is_native=True)


ARTIFACT = Artifact("shop/20260101T000000Z-a.sql", "abc", 10)
GOOD = Export("a", "shop", "Succeeded", None, None, 1, 100.0, 110.0, ARTIFACT)
LOST = replace(
    GOOD,
    phase="Failed",
    reason="ConnectionFailed",
    message="The server can't be reached.",
    attempts=5,
    completed=200.0,
    artifact=None,
)
FLAWED = replace(LOST, project="flawed", reason="AuthenticationFailed", attempts=1)
AWAY = Expectation(
    outages=[Outage(150.0, 151.0)],
    attempts_allowed=5,
    fails_with={"shop": frozenset(), "flawed": frozenset({"AuthenticationFailed"})},
)
THERE = replace(AWAY, outages=[Outage(10.0, 99.9), Outage(200.1, 210.0)])


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        (GOOD, THERE),
        (LOST, AWAY),
        (replace(LOST, reason="DumpFailed"), AWAY),
        (FLAWED, THERE),
        (replace(FLAWED, reason="ConnectionFailed", attempts=5), AWAY),
        # Still going on: told elsewhere.
        (replace(LOST, phase="Running", completed=None), THERE),
    ],
)
def test_true_ends(export: Export, expected: Expectation) -> None:
    assert verdict.untrue_ends([export], expected) == []


@pytest.mark.parametrize(
    ("export", "expected", "why"),
    [
        (LOST, THERE, "there all the time"),
        (replace(FLAWED, reason="ConnectionFailed", attempts=5), THERE, "there all the time"),
        (replace(LOST, attempts=4), AWAY, "5 attempts are allowed"),
        (replace(LOST, message=None), AWAY, "without a message"),
        (replace(FLAWED, message=""), AWAY, "without a message"),
        (replace(LOST, reason="AuthenticationFailed"), AWAY, "no fault of the run"),
        (replace(LOST, reason="OutOfMemory"), AWAY, "no fault of the run"),
        (replace(LOST, reason="Internal"), AWAY, "no fault of the run"),
        (replace(LOST, reason="JobDeleted"), AWAY, "no fault of the run"),
        (replace(LOST, reason=None), AWAY, "no fault of the run"),
        (replace(LOST, phase="Cancelled", reason="Cancelled"), AWAY, "nobody cancelled"),
        (replace(GOOD, artifact=None), THERE, "without an artifact"),
        (replace(GOOD, project="flawed"), THERE, "this can't succeed"),
    ],
)
def test_untrue_ends(export: Export, expected: Expectation, why: str) -> None:
    (sin,) = verdict.untrue_ends([GOOD, export], expected)
    assert why in sin
    assert str(export.message) in sin


def test_every_request_has_one_export_and_nobody_else_has_one() -> None:
    one, two = Accepted("k1", "a", "shop"), Accepted("k2", "b", "shop")
    other = replace(GOOD, name="b")
    assert verdict.not_one_each([one, two], [GOOD, other]) == []
    assert "no BackupExport" in verdict.not_one_each([one, two], [GOOD])[0]
    assert "nobody got a 202" in verdict.not_one_each([one], [GOOD, other])[0]
    assert "2 requests" in verdict.not_one_each([one, replace(two, job_id="a")], [GOOD])[0]


def test_what_hangs_is_told() -> None:
    hanging = replace(LOST, phase="Pending")
    assert verdict.unfinished([GOOD, LOST, replace(GOOD, phase="Cancelled")]) == []
    assert "still Pending" in verdict.unfinished([GOOD, hanging])[0]


def test_a_second_job_is_told_though_the_first_is_gone() -> None:
    assert verdict.second_jobs({"a": ["1", "1"], "b": ["2"], "c": []}) == []
    (sin,) = verdict.second_jobs({"a": ["1", "2"], "b": ["3"]})
    assert sin.startswith("a: 2 export Jobs")


def test_an_end_is_final() -> None:
    history = {"a": ["Pending", "Running", "Pending", "Running", "Succeeded"], "b": ["Failed"]}
    assert verdict.changed_after_the_end(history) == []
    assert verdict.changed_after_the_end({"a": ["Failed", "Succeeded"]}) != []
    assert verdict.changed_after_the_end({"a": ["Failed", "Running", "Failed"]}) != []


def test_a_limit_that_was_passed_is_told() -> None:
    assert verdict.too_many_at_once({"shop": ["a", "b"]}, {"shop": 2}) == []
    assert "a, b at once" in verdict.too_many_at_once({"shop": ["a", "b"]}, {"shop": 1})[0]


WHOLE = [File(ARTIFACT.path, 10, "abc"), File(f"{ARTIFACT.path}.json", 2)]


def test_the_volume_is_as_recorded() -> None:
    assert verdict.wrong_files(WHOLE, [GOOD, LOST]) == []


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (WHOLE[1:], "is not on the volume"),
        (WHOLE[:1], "has no manifest"),
        ([replace(WHOLE[0], size_bytes=9), WHOLE[1]], "has 9 bytes"),
        ([replace(WHOLE[0], sha256="abd"), WHOLE[1]], "abd"),
        ([*WHOLE, File("shop/.20260101T000000Z-b.sql.partial", 0)], "a partial file"),
        ([*WHOLE, File("shop/.20260101T000000Z-b.sql.json.partial", 0)], "a partial file"),
        ([*WHOLE, File("shop/20260101T000000Z-b.sql", 1)], "no successful export"),
    ],
)
def test_what_is_wrong_on_the_volume(files: list[File], why: str) -> None:
    (sin,) = verdict.wrong_files(files, [GOOD, LOST])
    assert why in sin


def test_contents_are_compared() -> None:
    source = {"shop": "5 7"}
    assert verdict.wrong_contents({"a": "5 7"}, source, [GOOD, LOST]) == []
    assert "4 7" in verdict.wrong_contents({"a": "4 7"}, source, [GOOD])[0]
    assert "nothing" in verdict.wrong_contents({}, source, [GOOD])[0]


def test_the_probe_tells_outages() -> None:
    seen = (
        "2026-01-01T00:00:00.000000+00:00 up\n"
        "2026-01-01T00:00:10.500000+00:00 down\n"
        "2026-01-01T00:00:12.000000+00:00 up\n"
        "2026-01-01T00:00:20.000000+00:00 down\n"
    )
    first, last = read_outages(seen)
    assert first.ended - first.began == 1.5
    assert last.ended == float("inf")
    assert read_outages("") == []


LABELS = {"backupexport.dev/export-uid": "u", "backupexport.dev/project-hash": "shop"}


def test_the_ledger_counts_export_jobs_by_their_uid() -> None:
    def job(uid: str, **labels: str) -> dict[str, Any]:
        owner = {"kind": "BackupExport", "name": "a"}
        return {
            "metadata": {"uid": uid, "labels": {**LABELS, **labels}, "ownerReferences": [owner]}
        }

    ledger = Ledger()
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        ledger.told_job(kind, job("1"))
        ledger.told_job(kind, job("2", **{"backupexport.dev/task": "tidy"}))
    assert ledger.jobs == {"a": {"1"}}
    ledger.told_job("ADDED", job("3", **{"backupexport.dev/task": "export"}))
    assert ledger.jobs == {"a": {"1", "3"}}


def test_the_ledger_counts_live_pods_of_a_project() -> None:
    ledger = Ledger()

    def told(kind: str, name: str, phase: str, *states: str) -> None:
        statuses: list[dict[str, Any]] = [{"state": {state: {}}} for state in states]
        metadata = {"uid": name, "name": name, "labels": LABELS}
        status = {"phase": phase, "containerStatuses": statuses}
        ledger.told_pod(kind, {"metadata": metadata, "status": status})

    told("ADDED", "1", "Pending")
    told("MODIFIED", "1", "Running", "running")
    assert ledger.most_at_once == {"shop": ["1"]}
    told("MODIFIED", "1", "Running", "terminated")
    told("ADDED", "2", "Pending", "waiting")
    told("MODIFIED", "1", "Succeeded")
    told("DELETED", "2", "Running")
    told("ADDED", "3", "Pending")
    assert ledger.most_at_once == {"shop": ["1"]}
    told("ADDED", "4", "Pending")
    assert ledger.most_at_once == {"shop": ["3", "4"]}
    assert ledger.pods == {"": {"1", "2", "3", "4"}}


def test_the_ledger_keeps_the_order_of_phases() -> None:
    ledger = Ledger()
    for phase in (None, "Pending", "Pending", "Failed", "Failed", "Pending"):
        status = {} if phase is None else {"phase": phase}
        ledger.told_export("MODIFIED", {"metadata": {"name": "a"}, "status": status})
    assert ledger.phases == {"a": ["Pending", "Failed", "Pending"]}


def test_an_export_is_read_as_the_api_server_has_it() -> None:
    item = {
        "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:01:40Z"},
        "spec": {"projectId": "shop"},
    }
    young = read_export(item)
    assert (young.phase, young.attempts, young.completed) == ("Pending", 0, None)
    status = {
        "phase": "Succeeded",
        "attempts": 1,
        "completionTime": "1970-01-01T00:01:50.000Z",
        "artifact": {"path": ARTIFACT.path, "sha256": "abc", "sizeBytes": 10},
    }
    assert read_export({**item, "status": status}) == GOOD


UID = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
CGROUP = f"4:memory:/kubepods/burstable/pod{UID}/c0ffee\n0::/\n"


@pytest.mark.parametrize(
    ("uid", "cgroup", "status", "program", "expected"),
    [
        (UID, CGROUP, "Name:\tpython3\nNSpid:\t4711\t1\n", "python3.13", True),
        (UID, f"0::/kubepods/pod{UID}/c0ffee\n", "NSpid:\t4711\t1\n", "postgres", True),
        (UID, CGROUP, "NSpid:\t4711\t1\n", "pause", False),
        (UID, CGROUP, "NSpid:\t4712\t17\n", "pg_dump", False),
        (UID[:-1], CGROUP, "NSpid:\t4711\t1\n", "python3.13", False),
        # The machine's own first process, whatever its group is called.
        (UID, CGROUP, "NSpid:\t1\n", "systemd", False),
        (UID, "0::/user.slice\n", "NSpid:\t4711\t1\n", "python3.13", False),
    ],
)
def test_only_a_pods_own_process_is_killed(
    uid: str, cgroup: str, status: str, program: str, expected: bool
) -> None:
    assert is_container_of(uid, cgroup, status, program) is expected


def test_whoever_was_struck_least_is_struck_next() -> None:
    def pod(name: str, *owners: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "ownerReferences": [{"name": n} for n in owners]}}

    pods = [pod("a-1", "a"), pod("b-1", "b"), pod("c-1", "c"), pod("alone")]
    assert choose(pods, {}, 5) == [pods[1]]
    assert choose(pods, {"b": 1}, 5) == [pods[3]]
    assert choose(pods, {"a": 2, "b": 2, "c": 1, "alone": 2}, 5) == [pods[2]]
    assert choose([], {"a": 1}, 5) == []


def test_what_was_not_accepted_has_no_promise() -> None:
    order = orders(1, 10, 1, 1, PROJECTS)[0]
    assert Delivery(order).accepted is None
    assert Delivery(order, "a").accepted == Accepted(order.key, "a", order.project)
