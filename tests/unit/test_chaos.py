"""The chaos run can be repeated, and can fail: its schedule and its judgement.

Each promise is judged by evidence that keeps it and by evidence that breaks it.
"""

import base64
import json
import os
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import chaos_verdict as verdict
import pytest
from backupexport_contract.reasons import ExitCode
from chaos_callers import Delivery
from chaos_clock import Clock, reviewed
from chaos_databases import read_outages
from chaos_effects import idle_faults, without_effect
from chaos_faults import Outcome, Striker, choose
from chaos_freeze import Told, read_metrics
from chaos_objects import as_applied
from chaos_pods import (
    Freeze,
    Mailing,
    PodRun,
    early_ends,
    forgotten_cancels,
    moment,
    node_moment,
    repeated,
    too_many_at_once,
    writes_after_thaw,
    wrong_mails,
)
from chaos_processes import is_container_of
from chaos_projects import PROJECTS
from chaos_schedule import (
    FORMATS,
    NODE_FAULTS,
    OBJECT_FAULTS,
    POD_FAULTS,
    Fault,
    Manner,
    Strike,
    chosen_faults,
    orders,
    strikes,
)
from chaos_verdict import Accepted, Artifact, Expectation, Export, File, Gone, Outage, Refusal
from chaos_volume import take_all
from chaos_watch import Ledger, read_export

ALL_FAULTS = POD_FAULTS + OBJECT_FAULTS + NODE_FAULTS


def test_a_schedule_follows_from_its_seed_alone() -> None:
    assert strikes(3, 200, 30, ALL_FAULTS) == strikes(3, 200, 30, ALL_FAULTS)
    assert orders(3, 200, 50, 5, PROJECTS) == orders(3, 200, 50, 5, PROJECTS)
    assert strikes(3, 200, 30, ALL_FAULTS) != strikes(4, 200, 30, ALL_FAULTS)
    assert orders(3, 200, 50, 5, PROJECTS) != orders(4, 200, 50, 5, PROJECTS)


@pytest.mark.parametrize("seed", range(20))
def test_every_fault_comes_and_none_too_late(seed: int) -> None:
    planned = strikes(seed, 200, 40, ALL_FAULTS)
    assert len(planned) == 40
    assert {strike.fault for strike in planned} == set(ALL_FAULTS)
    seconds = [strike.second for strike in planned]
    assert seconds == sorted(seconds)
    assert 0 <= seconds[0] < 10
    assert 190 < seconds[-1] <= 200
    assert all(0 < strike.seconds <= 20 for strike in planned)


def test_a_short_schedule_has_what_there_is_room_for() -> None:
    assert len({strike.fault for strike in strikes(1, 45, 5, ALL_FAULTS)}) == 5
    assert strikes(1, 45, 0, ALL_FAULTS) == ()


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
    addresses = [order.address for order in wanted if order.address is not None]
    assert 10 < len(addresses) == len(set(addresses)) < 40
    assert [order.second for order in wanted] == sorted(order.second for order in wanted)


def test_faults_of_the_whole_cluster_can_be_left_out() -> None:
    assert chosen_faults("all", is_native=True) == ALL_FAULTS
    assert chosen_faults("pods", is_native=True) == POD_FAULTS + OBJECT_FAULTS
    elsewhere = chosen_faults("all", is_native=False)
    assert Fault("database", Manner.FORCE) in elsewhere
    assert {fault.manner for fault in elsewhere} == {
        Manner.DELETE, Manner.FORCE, Manner.CANCEL, Manner.SUSPEND, Manner.REMAKE
    }  # fmt: skip
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
        (replace(LOST, phase="Cancelled", reason="Cancelled"), replace(AWAY, cancelled={"a"})),
        (replace(LOST, reason="JobDeleted"), replace(THERE, jobless={"a"})),
        (replace(LOST, reason="Internal"), replace(THERE, struck={"a"})),
        (replace(LOST, reason="StorageFull"), replace(THERE, full=AWAY.outages)),
        (
            replace(LOST, reason="TargetNotFound"),
            replace(THERE, away={"shop": [Outage(90.0, 101.0)]}),
        ),
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
        (replace(LOST, reason="Internal"), replace(AWAY, struck={"b"}), "no fault of the run"),
        (
            replace(LOST, reason="Internal", attempts=4),
            replace(AWAY, struck={"a"}),
            "no fault of the run",
        ),
        (replace(LOST, reason="JobDeleted"), AWAY, "no fault of the run"),
        (replace(LOST, reason=None), AWAY, "no fault of the run"),
        (replace(LOST, phase="Cancelled", reason="Cancelled"), AWAY, "nobody cancelled"),
        (
            replace(LOST, phase="Cancelled", reason="Cancelled"),
            replace(AWAY, cancelled={"b"}),
            "nobody cancelled",
        ),
        (
            replace(LOST, reason="JobDeleted"),
            replace(AWAY, jobless={"b"}),
            "no fault of the run",
        ),
        (
            replace(LOST, reason="JobDeleted", message=None),
            replace(AWAY, jobless={"a"}),
            "without a message",
        ),
        (replace(LOST, reason="StorageFull"), AWAY, "no fault of the run"),
        (
            replace(LOST, reason="StorageFull"),
            replace(AWAY, full=THERE.outages),
            "no fault of the run",
        ),
        # It had its target, which was away later, or another project's was.
        (
            replace(LOST, reason="TargetNotFound"),
            replace(AWAY, away={"shop": [Outage(150.0, 155.0)], "flawed": [Outage(90.0, 101.0)]}),
            "no fault of the run",
        ),
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
    assert verdict.not_one_each([one, two], [GOOD], excused={"b"}) == []
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


def test_an_export_goes_at_its_time_and_no_other_does() -> None:
    kept = replace(GOOD, expires=140.0)
    now = 200.0
    assert verdict.unkept([Gone(kept, 141.0), Gone(LOST, 150.0)], [GOOD], {"a"}, now) == []
    assert verdict.unkept([Gone(kept, 141.0)], [LOST], set(), now) == []
    (sin,) = verdict.unkept([Gone(GOOD, 150.0)], [], set(), now)
    assert "nobody deleted it" in sin
    (sin,) = verdict.unkept([Gone(kept, 130.0)], [], set(), now)
    assert "10 s before its time" in sin
    (sin,) = verdict.unkept([], [kept], set(), now)
    assert "over for 60 s" in sin


def test_a_retention_holds_as_it_was_accepted() -> None:
    kept = replace(GOOD, expires=135.0)
    assert verdict.changed_retention({"a": 25, "b": 25}, [kept]) == []
    assert verdict.changed_retention({"a": None}, [GOOD]) == []
    assert verdict.changed_retention({"a": 60}, [replace(kept, completed=None)]) == []
    for accepted, export, told in (
        (60, kept, "for 60 s, and is kept for 25 s"),
        (None, kept, "for good, and is kept for 25 s"),
        (25, GOOD, "for 25 s, and is kept for good"),
        # Counted from another day.
        (25, replace(kept, expires=kept.expires and kept.expires + 86400), "kept for 86425 s"),
    ):
        (sin,) = verdict.changed_retention({"a": accepted}, [export])
        assert told in sin


def test_nobody_is_told_that_a_project_is_not_there_while_it_is() -> None:
    refusal = Refusal("k", "shop", 150.0)
    assert verdict.refused_for_nothing([refusal], {"shop": AWAY.outages}) == []
    for away in ({}, {"shop": THERE.outages}, {"other": AWAY.outages}):
        (sin,) = verdict.refused_for_nothing([refusal], away)
        assert "there all the time" in sin


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


def test_a_file_of_an_export_that_is_said_to_have_failed_is_told() -> None:
    early = replace(GOOD, phase="Failed", artifact=None)
    sins = verdict.wrong_files(WHOLE, [early])
    assert len(sins) == 2
    assert all("said to have failed" in sin for sin in sins)


def test_a_second_file_of_one_export_is_told() -> None:
    second = File("shop/20260101T000009Z-a.sql", 10, "abc")
    (sin,) = verdict.wrong_files([*WHOLE, second], [GOOD])
    assert "a second file of one export" in sin


def test_a_tombstone_is_for_what_was_removed_alone() -> None:
    directory, _, name = ARTIFACT.path.rpartition("/")
    tombstone = File(f"{directory}/.{name}.removed", 2)
    assert verdict.wrong_files([tombstone], [], expired=[GOOD]) == []
    assert verdict.wrong_files([tombstone], [], fleeting=[GOOD]) == []
    (sin,) = verdict.wrong_files([tombstone, *WHOLE], [GOOD])
    assert "is left on the volume" in sin


def test_the_file_of_a_deleted_export_stays() -> None:
    assert verdict.wrong_files(WHOLE, [], deleted=[GOOD]) == []
    # Deleted before its end was written down.
    assert verdict.wrong_files(WHOLE, [], deleted=[replace(GOOD, artifact=None)]) == []
    # Whichever came first, its deletion or the end of its time.
    assert verdict.wrong_files([], [], fleeting=[GOOD]) == []
    assert verdict.wrong_files(WHOLE, [], fleeting=[GOOD]) == []
    (sin,) = verdict.wrong_files(WHOLE[:1], [], fleeting=[GOOD])
    assert "no successful export" in sin
    (sin, manifest) = verdict.wrong_files([], [], deleted=[GOOD])
    assert "is not on the volume" in sin
    assert "no manifest" in manifest
    partial = File("shop/.20260101T000000Z-a.sql.partial", 3)
    (sin,) = verdict.wrong_files([partial], [], deleted=[replace(GOOD, artifact=None)])
    assert "a partial file" in sin
    # Without a manifest it is not known to be whole.
    (sin,) = verdict.wrong_files(WHOLE[:1], [], deleted=[replace(GOOD, artifact=None)])
    assert "no successful export" in sin


def test_the_file_of_an_export_whose_time_is_over_is_gone() -> None:
    assert verdict.wrong_files([], [], expired=[GOOD]) == []
    # What its removal leaves, as docs/retention.md says.
    tombstone = File("shop/.20260101T000000Z-a.sql.removed", 2)
    assert verdict.wrong_files([tombstone], [], expired=[GOOD]) == []
    assert verdict.wrong_files([tombstone], [], fleeting=[GOOD]) == []
    assert verdict.wrong_files([*WHOLE, tombstone], [GOOD]) != []
    sins = verdict.wrong_files(WHOLE, [], expired=[GOOD])
    assert len(sins) == 2
    assert all("whose time is over" in sin for sin in sins)


def test_another_projects_data_are_told() -> None:
    assert verdict.others_data({"a": "shop 5 7"}, [GOOD, LOST]) == []
    (sin,) = verdict.others_data({"a": "store 5 7"}, [GOOD])
    assert "a file of shop holds the data of store" in sin
    (sin,) = verdict.others_data({"a": "shop+store 5 7"}, [GOOD])
    assert "shop+store" in sin


RUN = PodRun("a-1", "a", "shop", "export", 100.0, 110.0, 0)
BESIDE = replace(RUN, name="b-1", export="b", started=109.0, ended=120.0)


def test_a_limit_that_was_passed_is_told_by_the_pods_own_times() -> None:
    (sin,) = too_many_at_once([RUN, BESIDE], {"shop": 1})
    assert "a, b at once, maxConcurrent is 1" in sin
    assert too_many_at_once([RUN, BESIDE], {"shop": 2}) == []
    for other in (
        # Attempts of one export.
        replace(BESIDE, export="a"),
        # Whole seconds: nobody knows which of the two came first.
        replace(BESIDE, started=110.0),
        replace(BESIDE, project="store"),
        replace(BESIDE, task="tidy"),
        # Its node has never told how long it ran.
        replace(BESIDE, ended=None),
    ):
        assert too_many_at_once([RUN, other], {"shop": 1, "store": 1}) == []
    third = replace(BESIDE, name="c-1", export="c")
    (sin,) = too_many_at_once([RUN, BESIDE, third], {"shop": 2})
    assert "a, b, c at once" in sin


def test_an_end_before_that_of_its_pod_is_told() -> None:
    failed = replace(LOST, completed=105.0)
    (sin,) = early_ends([failed], [RUN])
    assert sin == "a: Failed 5 s before its pod a-1 ended"
    cancelled = replace(failed, phase="Cancelled")
    (sin,) = early_ends([cancelled], [RUN])
    assert "Cancelled 5 s before" in sin
    for export, run in (
        (replace(failed, completed=110.5), RUN),
        (failed, replace(RUN, ended=None)),
        (failed, replace(RUN, task="deliver-email")),
        (failed, replace(RUN, export="b")),
        (GOOD, RUN),
    ):
        assert early_ends([export], [run]) == []


def test_an_attempt_after_a_cancel_is_told() -> None:
    late = replace(RUN, started=200.0)
    assert forgotten_cancels({"a": 150.0}, [late]) == []
    (sin,) = forgotten_cancels({"a": 70.0}, [late])
    assert "began 130 s after the cancel" in sin
    assert forgotten_cancels({"b": 70.0}, [late]) == []


MAIL = "chaos-1@example.org"
SENT = PodRun("a-m", "a", "shop", "deliver-email", 111.0, 112.0, 0)
WANTED = Mailing("a", MAIL, must_come=True)


@pytest.mark.parametrize(
    ("mailing", "mails", "attempts"),
    [
        (WANTED, {MAIL: 1}, [SENT]),
        # Killed, or without an answer: it may have sent it.
        (WANTED, {MAIL: 2}, [replace(SENT, exit_code=137), SENT]),
        (WANTED, {MAIL: 2}, [replace(SENT, exit_code=None), SENT]),
        (WANTED, {MAIL: 2}, [replace(SENT, exit_code=ExitCode.DELIVERY_DEFERRED), SENT]),
        # Its success was taken away before anybody saw it.
        (replace(WANTED, struck=1), {MAIL: 2}, [SENT, SENT]),
        (replace(WANTED, must_come=False), {}, []),
    ],
)
def test_mails_that_may_be(mailing: Mailing, mails: dict[str, int], attempts: list[PodRun]) -> None:
    assert wrong_mails([mailing], mails, {"a": attempts}) == []


@pytest.mark.parametrize(
    ("mails", "attempts", "why"),
    [
        ({}, [SENT], "no mail to"),
        ({MAIL: 2}, [SENT], "2 mails"),
        # A second attempt after one that told its success.
        ({MAIL: 2}, [SENT, SENT], "2 mails"),
        ({MAIL: 3}, [replace(SENT, exit_code=137), SENT], "3 mails"),
        ({MAIL: 1, "other@example.org": 1}, [SENT], "nobody wants"),
    ],
)
def test_mails_that_may_not_be(mails: dict[str, int], attempts: list[PodRun], why: str) -> None:
    (sin,) = wrong_mails([WANTED], mails, {"a": attempts})
    assert why in sin


def test_a_write_of_a_frozen_leader_after_its_thaw_is_told() -> None:
    good = Freeze("operator-1", 40, 40)
    # Answered while it slept, and counted when it woke up; or killed before it could tell.
    assert writes_after_thaw([good, replace(good, writes_after=41, changes=1)]) == []
    assert writes_after_thaw([replace(good, writes_after=None)]) == []
    (sin,) = writes_after_thaw([good, replace(good, writes_after=42, changes=1)])
    assert sin == "operator-1: sent 2 writes after its thaw, when another led"


METRICS = """# TYPE backupexport_operator_leader gauge
backupexport_operator_leader 1.0
# TYPE backupexport_operator_kubernetes_requests_total counter
backupexport_operator_kubernetes_requests_total{resource="jobs",status="201",verb="create"} 3.0
backupexport_operator_kubernetes_requests_total{resource="jobs",status="409",verb="delete"} 1.0
backupexport_operator_kubernetes_requests_total{resource="jobs",status="200",verb="list"} 7.0
backupexport_operator_kubernetes_requests_total{resource="leases",status="200",verb="update"} 90.0
backupexport_operator_kubernetes_requests_total{resource="events",status="201",verb="create"} 8.0
backupexport_operator_kubernetes_requests_total{resource="backupexports/status",status="(none)",\
verb="patch"} 2.0
"""


def test_a_process_tells_how_many_harmful_writes_it_has_sent() -> None:
    text = METRICS.replace("\\\n", "")
    assert read_metrics(text) == Told(leads=True, writes=6)
    assert not read_metrics(text.replace("leader 1.0", "leader 0.0")).leads


def test_only_a_second_pod_is_a_second_attempt() -> None:
    again = replace(RUN, name="a-2")
    assert repeated([RUN, BESIDE, replace(RUN, name="t", task="tidy")]) == set()
    assert repeated([RUN, BESIDE, again]) == {"a"}


FELT = {"expired": 1, "mails": 1}


@pytest.mark.parametrize(
    ("fault", "hits", "effect"),
    [
        (Fault("operator", Manner.FORCE), 1, "takeovers"),
        (Fault("operator", Manner.FREEZE), 1, "takeovers"),
        (Fault("operator", Manner.SIGKILL), 1, "operator_restarts"),
        (Fault("api", Manner.FORCE, everyone=True), 1, "api_pods_gone"),
        (Fault("api", Manner.SIGKILL), 1, "api_restarts"),
        (Fault("runner", Manner.SIGKILL), 1, "runners_lost"),
        (Fault("database", Manner.FORCE), 1, "database_pods_gone"),
        (Fault("mail", Manner.FORCE), 1, "mail_pods_gone"),
        (Fault("kube-apiserver", Manner.CRASH), 1, "server_outages"),
        (Fault("export", Manner.CANCEL), 3, "cancelled"),
        (Fault("export", Manner.DELETE), 1, "exports_gone"),
        (Fault("job", Manner.DELETE), 1, "jobs_gone"),
        (Fault("target", Manner.SUSPEND), 1, "targets_suspended"),
        (Fault("target", Manner.REMAKE), 1, "targets_gone"),
        (Fault("volume", Manner.FILL), 1, "full_volumes"),
        (Fault("clock", Manner.SET_BACK), 1, "skewed_reports"),
    ],
)
def test_a_fault_that_nobody_felt_is_told(fault: Fault, hits: int, effect: str) -> None:
    assert fault in ALL_FAULTS
    assert without_effect({fault: hits}, FELT | {effect: 1}) == []
    (sin,) = without_effect({fault: hits}, FELT)
    assert sin.startswith(f"{hits} x {fault}: not one ")
    assert without_effect({fault: 0}, FELT) == []


def test_runners_that_were_hit_are_followed_by_others() -> None:
    fault = Fault("runner", Manner.DELETE)
    (sin,) = without_effect({fault: 3}, FELT | {"runners_lost": 3})
    assert "second attempt" in sin
    assert without_effect({fault: 2}, FELT | {"runners_lost": 2}) == []


def test_a_run_without_an_expired_export_or_a_mail_is_told() -> None:
    assert len(without_effect({}, {})) == 2


def test_a_long_run_hits_with_every_fault() -> None:
    one, other = ALL_FAULTS[:2]
    assert idle_faults([one, other], {one: 1, other: 2}) == []
    assert idle_faults([one, other, other], {one: 1, other: 0}) == [f"{other}: never hit anybody"]


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


def pod_of(uid: str, phase: str = "Running", **state: Any) -> dict[str, Any]:
    labels = {**LABELS, "backupexport.dev/job-id": "a", "backupexport.dev/task": "export"}
    statuses = [{"state": {key: value}} for key, value in state.items()]
    return {
        "metadata": {"uid": uid, "name": f"pod-{uid}", "labels": labels},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


def test_the_ledger_keeps_what_pods_have_told_of_themselves() -> None:
    began = 86400.0
    ledger = Ledger(lambda: began)
    started, ended = "1970-01-02T00:00:01Z", "1970-01-02T00:00:05Z"
    ledger.told_pod("ADDED", pod_of("1", "Pending", waiting={}))
    ledger.told_pod("MODIFIED", pod_of("1", running={"startedAt": started}))
    (run,) = ledger.pods("a")
    assert (run.started, run.ended, run.exit_code) == (began + 1, None, None)
    over = {"startedAt": started, "finishedAt": ended, "exitCode": 0}
    ledger.told_pod("MODIFIED", pod_of("1", terminated=over))
    # What was told stays told.
    ledger.told_pod("DELETED", pod_of("1"))
    assert ledger.runs == [PodRun("pod-1", "a", "shop", "export", began + 1, began + 5, 0)]
    assert ledger.runners_lost({"2"}) == 0
    ledger.told_pod("ADDED", pod_of("2", running={"startedAt": started}))
    ledger.told_pod("DELETED", pod_of("2", running={"startedAt": started}))
    assert ledger.runners_lost({"2", "3"}) == 1
    ledger.told_pod("ADDED", pod_of("3", terminated=over | {"exitCode": 137}))
    ledger.told_pod("ADDED", pod_of("4", terminated=over | {"exitCode": 28}))
    assert ledger.runners_lost({"2", "3"}) == 2
    # Whom nobody struck.
    assert ledger.runners_lost({"4"}) == 0
    assert ledger.full_volumes() == 1


def test_a_day_that_a_run_took_away_is_put_back() -> None:
    now = 10 * 86400.0
    assert moment("1970-01-10T23:59:59Z", now) == now - 1
    assert moment("1970-01-10T00:00:05Z", now) == now + 5
    assert moment(None, now) is None
    assert node_moment("1970-01-10T00:00:05Z", now) == now + 5
    assert node_moment("1970-01-01T00:00:00Z", now) is None


def test_the_ledger_counts_what_befell_the_parts() -> None:
    ledger = Ledger()

    def told(kind: str, uid: str, restarts: int) -> None:
        metadata = {
            "uid": uid,
            "name": uid,
            "labels": {"app.kubernetes.io/component": "api", "app.kubernetes.io/name": "x"},
        }
        status = {"phase": "Running", "containerStatuses": [{"restartCount": restarts}]}
        ledger.told_pod(kind, {"metadata": metadata, "status": status})

    told("ADDED", "1", 0)
    told("MODIFIED", "1", 2)
    told("ADDED", "2", 1)
    assert (ledger.restarts("api"), ledger.parts_gone("api")) == (3, 0)
    told("DELETED", "1", 2)
    told("DELETED", "1", 2)
    assert (ledger.restarts("api"), ledger.parts_gone("api")) == (3, 1)


def test_the_ledger_counts_takeovers() -> None:
    ledger = Ledger()
    assert ledger.leader_pod() is None
    for holder in ("op-1_u1", "op-1_u1", "", "op-2_u2", "op-1_u1"):
        ledger.told_lease("MODIFIED", {"spec": {"holderIdentity": holder}})
    assert ledger.leaders == ["op-1_u1", "op-2_u2", "op-1_u1"]
    assert ledger.leader_pod() == "op-1"


def test_the_ledger_knows_how_exports_went() -> None:
    now = [100.0]
    ledger = Ledger(lambda: now[0])

    def told(kind: str, **status: Any) -> None:
        metadata = {"name": "a", "creationTimestamp": "1970-01-01T00:01:40Z"}
        item = {"metadata": metadata, "spec": {"projectId": "shop"}, "status": status}
        ledger.told_export(kind, item)

    told("ADDED")
    assert ledger.accepted_with == {}
    told("MODIFIED", phase="Pending", jobName="bex-a", retentionSeconds=25)
    told("MODIFIED", phase="Pending", jobName="bex-a", retentionSeconds=60, reason="StorageFull")
    assert ledger.accepted_with == {"a": 25}
    assert ledger.full_volumes() == 1
    now[0] = 170.0
    assert ledger.gone == {}
    told("DELETED", phase="Failed", expirationTime="1970-01-01T00:02:45Z")
    assert (ledger.gone["a"].at, ledger.gone["a"].export.expires) == (170.0, 165.0)
    assert ledger.changes_between(99.0, 101.0) == 3
    assert ledger.changes_between(101.0, 169.0) == 0


def test_the_ledger_keeps_the_order_of_phases() -> None:
    ledger = Ledger()
    for phase in (None, "Pending", "Pending", "Failed", "Failed", "Pending"):
        status = {} if phase is None else {"phase": phase}
        metadata = {"name": "a", "creationTimestamp": "1970-01-01T00:01:40Z"}
        item = {"metadata": metadata, "spec": {"projectId": "shop"}, "status": status}
        ledger.told_export("MODIFIED", item)
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


def told_by_node(**terminated: str) -> dict[str, Any]:
    return {
        "metadata": {"uid": "1"},
        "status": {"containerStatuses": [{"state": {"terminated": terminated}}]},
    }


def test_a_clock_is_wrong_while_it_is_set_back_and_its_reports_stay() -> None:
    clock = Clock()
    started, ended = "2026-01-02T10:00:00Z", "2026-01-02T10:00:09Z"
    assert clock.patch(told_by_node(startedAt=started)) == []
    clock.set_back(True)
    (change,) = clock.patch(told_by_node(startedAt=started, finishedAt=ended))
    path = "/status/containerStatuses/0/state/terminated/finishedAt"
    assert change == {"op": "replace", "path": path, "value": "2026-01-01T10:00:09Z"}
    # Somebody else writes what it has read.
    back = told_by_node(startedAt=started, finishedAt="2026-01-01T10:00:09Z")
    assert clock.patch(back) == []
    clock.set_back(False)
    assert clock.patch(told_by_node(startedAt=started, finishedAt=ended)) == [change]
    assert clock.patch(back) == []
    assert clock.patch(told_by_node(finishedAt="2026-01-02T10:30:00Z")) == []
    assert clock.wrong == 1
    assert clock.patch({"metadata": {"uid": "2"}, "status": {}}) == []


def test_the_api_server_gets_the_clocks_patch() -> None:
    clock = Clock()
    clock.set_back(True)
    pod = told_by_node(finishedAt="2026-01-02T10:00:09Z")
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u", "object": pod},
    }
    response = reviewed(review, clock)["response"]
    assert (response["uid"], response["allowed"]) == ("u", True)
    (change,) = json.loads(base64.b64decode(response["patch"]))
    assert change["value"] == "2026-01-01T10:00:09Z"


def test_a_target_is_made_again_without_what_the_api_server_added() -> None:
    found = {
        "apiVersion": "backupexport.dev/v1alpha1",
        "kind": "ExportTarget",
        "metadata": {"name": "t", "namespace": "n", "uid": "u", "resourceVersion": "7"},
        "spec": {"projectId": "shop"},
        "status": {"conditions": []},
    }
    assert as_applied(found) == {
        "apiVersion": "backupexport.dev/v1alpha1",
        "kind": "ExportTarget",
        "metadata": {"name": "t", "namespace": "n"},
        "spec": {"projectId": "shop"},
    }


def test_a_filler_takes_all_the_room_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = 4096

    class Found:
        f_bavail, f_frsize = 3, block

    monkeypatch.setattr(os, "statvfs", lambda _: Found)
    with (tmp_path / "filler").open("wb") as file:
        take_all(file.fileno(), tmp_path)
        take_all(file.fileno(), tmp_path)
    assert (tmp_path / "filler").stat().st_size == 6 * block


def test_a_fault_that_lasts_lets_the_others_go_on_and_tells_its_error() -> None:
    refill, cancel = Fault("volume", Manner.FILL), Fault("export", Manner.CANCEL)
    said: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def fill(_: Strike) -> Outcome:
        begun.set()
        assert go_on.wait(60)
        raise OSError("no such volume")

    striker = Striker("n", said.append, {cancel: lambda _: ["a"]}, {refill: fill})
    striker.strike(Strike(0.0, refill, 0, 1.0))
    assert begun.wait(60)
    striker.strike(Strike(1.0, cancel, 0, 1.0))
    go_on.set()
    striker.settle()
    assert said == [f"{cancel}: a", f"{refill}: OSError: no such volume"]
    assert striker.counts() == {cancel: 1}
