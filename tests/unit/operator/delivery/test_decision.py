"""What is done next to have an export that has ended delivered."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import builders
import pytest
from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import ArtifactStatus, BackupExport
from backupexport_contract.deliveries import Deliveries, conditions_by_kind
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.reasons import ExitCode, Phase, Reason
from backupexport_contract.runner_protocol import Outcome, delivery_task, outcome_text
from backupexport_operator.delivery.choice import first_conditions, settings_for, settings_now
from backupexport_operator.delivery.decision import (
    START_PATIENCE,
    DeliveryPlan,
    DeliveryStep,
    decide_delivery,
    refused_delivery,
)
from backupexport_operator.export import next_status
from backupexport_operator.manifests.events import events_between
from backupexport_operator.manifests.status import delayed_between, settled_between
from backupexport_operator.observed.export_files import is_being_sent, unfinished_jobs
from backupexport_operator.observed.failure import Failure
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Observation, SideJob

ENDED = timestamps.from_text("2026-01-29T15:30:00Z")
MAIL: dict[str, Any] = {"host": "mail", "from": "exports@example.com"}
CHAT: dict[str, Any] = {"secretRef": {"name": "bot"}}
CHART = Deliveries.model_validate({"email": MAIL, "telegram": CHAT})
NAMES = {kind: names.task_job_name("e1", delivery_task(kind)) for kind in Deliveries.kinds()}


def at(seconds: float) -> datetime:
    return ENDED + timedelta(seconds=seconds)


def export(conditions: Sequence[dict[str, Any]] = (), **spec: Any) -> BackupExport:
    status = {
        "phase": "Succeeded",
        "completionTime": timestamps.to_text(ENDED),
        "conditions": list(conditions),
    }
    return builders.export("e1", spec, status, uid="u1", creationTimestamp="2026-01-29T15:00:00Z")


def told(
    kind: str, reason: str = "Pending", message: str = "Soon.", status: str = "Unknown"
) -> Any:
    condition_type = Deliveries.kinds()[kind].condition_type
    return builders.condition(condition_type, status, reason, message)


def target(**deliveries: Any) -> ExportTarget:
    return builders.target(deliveries=deliveries)


TARGET = target()


def seen(
    *pods: ObservedPod,
    job: ObservedJob | None = None,
    now: float = 1,
    of: BackupExport | None = None,
    kind: str = "email",
    served_by: ExportTarget | None = TARGET,
    chart: Deliveries = CHART,
) -> Observation:
    runs = {name: SideJob() for name in NAMES} | {kind: SideJob(job, pods)}
    return Observation(
        export=of or export([told("email"), told("telegram")], notifyEmail="a@example.com"),
        target=served_by,
        job=None,
        pods=(),
        now=at(now),
        backoff_limit=4,
        delivery_jobs=runs,
        deliveries=chart,
        storages=builders.STORAGES,
    )


JOB = ObservedJob(NAMES["email"], "u1", uid="j1", created_at=timestamps.to_text(at(1)))
POD = ObservedPod("pod", timestamps.to_text(at(1)), job=JOB.name, job_uid=JOB.uid, node="n")
AT_WORK = replace(POD, started_at=timestamps.to_text(at(1)))
TELEGRAM_JOB = replace(JOB, name=NAMES["telegram"])
COMPLETE = replace(JOB, complete=True)


def failed(seconds: float, reason: str = "BackoffLimitExceeded") -> ObservedJob:
    return replace(JOB, failure=reason, failed_at=timestamps.to_text(at(seconds)))


def ended(code: int, message: str = "", **more: Any) -> ObservedPod:
    text = outcome_text(Outcome(message=message)) if message else ""
    return replace(POD, exit_code=code, termination_message=text, **more)


def said(plan: DeliveryPlan) -> tuple[str, str]:
    return plan.condition.status, plan.condition.reason


def test_without_a_job_one_is_made() -> None:
    plan = decide_delivery(seen(), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.CREATE, ("Unknown", "Pending"))


def test_a_target_does_not_get_the_installations_own_secrets() -> None:
    own = target(telegram={"secretRef": {"name": "release-jwt"}})
    plan = decide_delivery(
        replace(seen(kind="telegram", served_by=own), own_secrets=("release-jwt",)), "telegram"
    )
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("False", "SecretInvalid"))
    assert "release-jwt" in plan.condition.message
    # Also where the chart's settings give the target's their limits.
    own = target(email={"host": "h", "from": "a@b.example", "secretRef": {"name": "release-jwt"}})
    plan = decide_delivery(replace(seen(served_by=own), own_secrets=("release-jwt",)), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("False", "SecretInvalid"))
    # The chart's own settings may.
    own = target(telegram={"secretRef": {"name": "release-jwt"}})
    plan = decide_delivery(replace(seen(served_by=own), own_secrets=("release-jwt",)), "email")
    assert plan.step is DeliveryStep.CREATE


def test_an_attempt_that_works_is_waited_for() -> None:
    plan = decide_delivery(seen(AT_WORK, job=JOB), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("Unknown", "InProgress"))
    assert JOB.name in plan.condition.message
    assert plan.recheck_after


@pytest.mark.parametrize("pods", [(), (ended(0, "The mail server took it."),)])
def test_a_complete_job_is_a_delivery(pods: tuple[ObservedPod, ...]) -> None:
    plan = decide_delivery(seen(*pods, job=COMPLETE), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("True", "Succeeded"))
    assert plan.condition.message == ("The mail server took it." if pods else "It was made.")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ExitCode.BAD_REQUEST, "Internal"),
        (ExitCode.SECRET_INVALID, "SecretInvalid"),
        (ExitCode.AUTHENTICATION_FAILED, "AuthenticationFailed"),
        (ExitCode.DELIVERY_REFUSED, "Refused"),
        (ExitCode.FILE_MISSING, "FileMissing"),
    ],
)
def test_what_cannot_heal_is_given_up_at_once(code: ExitCode, reason: str) -> None:
    plan = decide_delivery(seen(ended(code, "No."), job=failed(2)), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("False", reason))
    assert plan.condition.message == "No."


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ExitCode.CONNECTION_FAILED, "ConnectionFailed"),
        (ExitCode.DELIVERY_DEFERRED, "Deferred"),
        (ExitCode.STORAGE_FULL, "Deferred"),
        (ExitCode.INTERRUPTED, "Internal"),
        (137, "Internal"),
    ],
)
def test_what_may_heal_is_tried_again(code: int, reason: str) -> None:
    plan = decide_delivery(seen(ended(code, "Away."), job=failed(2), now=3), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("Unknown", reason))
    assert plan.condition.message == "Away (tried again at 15:30:12 UTC)."
    assert plan.recheck_after == timedelta(seconds=9)


@pytest.mark.parametrize(
    ("code", "named", "reason"),
    [
        (99, "Deferred", "Deferred"),
        (99, "Novel", "Internal"),
        (99, None, "Internal"),
        # Of a code that is known the reason is, too.
        (int(ExitCode.CONNECTION_FAILED), "Novel", "ConnectionFailed"),
    ],
)
def test_a_newer_runners_exit_code_is_tried_again(
    code: int, named: str | None, reason: str
) -> None:
    text = outcome_text(Outcome(message="Away.", reason=named))
    pod = replace(ended(code), termination_message=text)
    plan = decide_delivery(seen(pod, job=failed(2), now=3), "email")
    assert said(plan) == ("Unknown", reason)
    assert plan.condition.message.startswith("Away (tried again")


def test_a_disruption_is_no_failure() -> None:
    pod = ended(ExitCode.DELIVERY_REFUSED, "No.", disrupted=True)
    assert said(decide_delivery(seen(pod, job=failed(2)), "email"))[0] == "Unknown"


@pytest.mark.parametrize(
    ("since_end", "pause"), [(0, 10), (20, 10), (60, 30), (1000, 500), (3600, 900), (80000, 900)]
)
def test_attempts_come_more_and_more_seldom(since_end: float, pause: float) -> None:
    """Half of the time since the end, but at least 10 s and at most 15 min."""
    pod = ended(ExitCode.CONNECTION_FAILED, "Away.")
    job = failed(since_end)
    before = decide_delivery(seen(pod, job=job, now=since_end + pause - 0.5), "email")
    assert before.step is DeliveryStep.WAIT
    assert before.recheck_after == timedelta(seconds=0.5)
    after = decide_delivery(seen(pod, job=job, now=since_end + pause), "email")
    assert after.step is DeliveryStep.DELETE


def test_it_is_given_up_when_its_time_is_over() -> None:
    pod = ended(ExitCode.CONNECTION_FAILED, "Away.")
    chart = Deliveries.model_validate({"email": MAIL | {"giveUpSeconds": 60}})
    assert said(decide_delivery(seen(pod, job=failed(40), chart=chart), "email"))[0] == "Unknown"
    plan = decide_delivery(seen(pod, job=failed(41), chart=chart), "email")
    assert said(plan) == ("False", "ConnectionFailed")
    assert plan.condition.message == "Away (given up, as giveUpSeconds is 60)."


def test_the_first_attempt_may_come_late() -> None:
    """No operator ran for longer than the time to give up."""
    chart = Deliveries.model_validate({"email": MAIL | {"giveUpSeconds": 60}})
    assert decide_delivery(seen(now=9999, chart=chart), "email").step is DeliveryStep.CREATE


def test_a_pod_of_the_attempt_before_says_nothing_of_this_one() -> None:
    job = replace(JOB, uid="j2")
    plan = decide_delivery(seen(ended(ExitCode.DELIVERY_REFUSED, "No."), job=job, now=31), "email")
    assert said(plan) == ("Unknown", "InProgress")
    gone = replace(job, failure="BackoffLimitExceeded", failed_at=timestamps.to_text(at(31)))
    plan = decide_delivery(seen(ended(ExitCode.DELIVERY_REFUSED, "No."), job=gone, now=31), "email")
    assert said(plan) == ("Unknown", "Internal")


def test_what_the_last_attempt_said_stays_until_the_next_has_ended() -> None:
    known = export([told("email", "ConnectionFailed", "Away.")], notifyEmail="a@example.com")
    plan = decide_delivery(seen(POD, job=JOB, of=known), "email")
    assert (plan.condition.reason, plan.condition.message) == ("ConnectionFailed", "Away.")


def test_an_attempt_that_takes_too_long_keeps_what_was_told_before() -> None:
    """Told once, it stays as it was told: our own patch comes back and asks again."""
    job = failed(20, "DeadlineExceeded")
    message = "Away (tried again at 15:30:12 UTC)."
    known = export([told("email", "ConnectionFailed", message)], notifyEmail="a@example.com")
    first = decide_delivery(seen(job=job, of=known, now=21), "email")
    assert first.condition.reason == "DeadlineExceeded"
    assert first.condition.message == (
        "The attempt took too long (before that: Away) (tried again at 15:30:30 UTC)."
    )
    known = known_as(first)
    for now in (22, 23):
        assert decide_delivery(seen(job=job, of=known, now=now), "email") == replace(
            first, recheck_after=at(30) - at(now), pause=at(30) - at(now)
        )


def known_as(plan: DeliveryPlan) -> BackupExport:
    """The export once `plan` is written."""
    of = export(notifyEmail="a@example.com")
    status = of.status.model_copy(update={"conditions": [plan.condition]})
    return of.model_copy(update={"status": status})


JOBS = [
    None, JOB, COMPLETE, failed(2), failed(2, "DeadlineExceeded"), replace(JOB, suspended=True),
    replace(JOB, deleting=True), replace(JOB, owner_uid="another"),
]  # fmt: skip
PODS: list[list[ObservedPod]] = [
    [], [POD], [AT_WORK], [replace(POD, unschedulable="no room")],
    [replace(POD, waiting="CreateContainerConfigError", waiting_message='secret "x" not found')],
    [ended(0, "Sent.")], [ended(22, "Away.")], [ended(31, "No.")], [ended(137)],
    [replace(POD, phase="Failed", reason="Evicted")],
]  # fmt: skip


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("pods", PODS)
@pytest.mark.parametrize("now", [3, 400, 90000])
@pytest.mark.parametrize("known", [
    ("Pending", "Soon."), ("ConnectionFailed", "Away (tried again at 15:30:12 UTC)."),
    ("DeadlineExceeded", "The attempt took too long (tried again at 15:30:12 UTC)."),
])  # fmt: skip
def test_what_is_decided_and_written_is_decided_again(
    job: ObservedJob | None, pods: list[ObservedPod], now: float, known: tuple[str, str]
) -> None:
    """Else the operator would go on writing, woken by what it has just written."""
    of = export([told("email", *known)], notifyEmail="a@example.com")
    first = decide_delivery(seen(*pods, job=job, of=of, now=now), "email")
    if first.condition.status != "Unknown" or first.step is DeliveryStep.DELETE:
        return
    second = decide_delivery(seen(*pods, job=job, of=known_as(first), now=now), "email")
    assert second == first


def test_a_missing_secret_is_told_while_the_pod_waits() -> None:
    pod = replace(POD, waiting="CreateContainerConfigError", waiting_message='secret "x" not found')
    plan = decide_delivery(seen(pod, job=JOB), "email")
    assert said(plan) == ("Unknown", "SecretInvalid")
    assert "deliveries.email" in plan.condition.message
    assert 'secret "x" not found' in plan.condition.message


def test_an_image_that_cannot_be_pulled_is_told() -> None:
    pod = replace(POD, waiting="ImagePullBackOff")
    assert said(decide_delivery(seen(pod, job=JOB), "email")) == ("Unknown", "ImageUnavailable")


def test_a_suspended_job_is_waited_for_and_given_up() -> None:
    held = replace(JOB, suspended=True)
    plan = decide_delivery(seen(job=held), "email")
    assert said(plan) == ("Unknown", "InProgress")
    assert "is suspended" in plan.condition.message
    over = decide_delivery(seen(job=held, now=86401), "email")
    assert (over.step, over.condition.status) == (DeliveryStep.DELETE, "False")


@pytest.mark.parametrize("pods", [(), (POD,), (replace(POD, unschedulable="no room"),)])
def test_a_pod_that_does_not_start_makes_room_for_others(pods: tuple[ObservedPod, ...]) -> None:
    early = decide_delivery(seen(*pods, job=JOB, now=299), "email")
    assert early.step is DeliveryStep.WAIT
    late = decide_delivery(seen(*pods, job=JOB, now=301), "email")
    assert (late.step, late.condition.status) == (DeliveryStep.DELETE, "Unknown")
    assert late.pause == timedelta(seconds=150.5)
    assert "tried again at" in late.condition.message
    over = decide_delivery(seen(*pods, job=JOB, now=90000), "email")
    assert (over.step, over.condition.status) == (DeliveryStep.DELETE, "False")


def test_a_subpath_that_cannot_be_mounted_is_not_called_a_secret() -> None:
    text = "failed to prepare subPath for volumeMount"
    pod = replace(POD, waiting="CreateContainerConfigError", waiting_message=text)
    plan = decide_delivery(seen(pod, job=JOB), "email")
    assert plan.condition.reason == "StorageUnwritable"
    assert "the delivery's pod" in plan.condition.message
    assert text in plan.condition.message
    busy = replace(pod, waiting_message="failed to sync secret cache: timed out")
    assert said(decide_delivery(seen(busy, job=JOB), "email"))[1] == "InProgress"


def test_what_was_sent_just_before_the_deadline_is_sent() -> None:
    job = failed(2, "DeadlineExceeded")
    plan = decide_delivery(seen(ended(0, "The mail server took it."), job=job), "email")
    assert said(plan) == ("True", "Succeeded")


def test_an_evicted_pod_says_so() -> None:
    pod = replace(POD, phase="Failed", reason="Evicted", message="low on memory")
    plan = decide_delivery(seen(pod, job=failed(2)), "email")
    assert said(plan) == ("Unknown", "Internal")
    assert "Evicted: low on memory" in plan.condition.message


def test_a_failed_delivery_without_a_job_ends_with_its_time() -> None:
    of = export([told("email", "ConnectionFailed", "Away.")], notifyEmail="a@example.com")
    assert decide_delivery(seen(of=of, now=86399), "email").step is DeliveryStep.CREATE
    assert said(decide_delivery(seen(of=of, now=86401), "email")) == (
        "False",
        "ConnectionFailed",
    )


def test_another_exports_job_is_in_the_way_for_a_while() -> None:
    other = replace(JOB, owner_uid="u0", complete=True)
    assert said(decide_delivery(seen(job=other), "email")) == ("Unknown", "Pending")
    late = decide_delivery(seen(job=other, now=601), "email")
    assert said(late) == ("False", "Internal")


def test_a_job_that_goes_is_waited_for() -> None:
    plan = decide_delivery(seen(job=replace(failed(2), deleting=True)), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("Unknown", "Pending"))
    assert plan.recheck_after


def test_a_file_in_a_bucket_that_is_none_of_the_charts_any_more_is_waited_for() -> None:
    url = {"path": "p/f", "storage": "bucket", "url": "s3://exports/team/p/f"}
    gone = export([told("email"), told("telegram")], notifyEmail="a@example.com")
    artifact = ArtifactStatus.model_validate(builders.ARTIFACT_STATUS | url)
    gone = gone.model_copy(update={"status": gone.status.model_copy(update={"artifact": artifact})})
    plan = decide_delivery(seen(of=gone, kind="telegram"), "telegram")
    assert (plan.step, plan.condition.status) == (DeliveryStep.WAIT, "Unknown")
    assert plan.condition.reason == "Deferred"
    assert "no storage of the chart is s3://exports/team" in plan.condition.message
    # A mail has no need of the file.
    assert decide_delivery(seen(of=gone), "email").step is DeliveryStep.CREATE
    # It is back.
    back = replace(seen(of=gone, kind="telegram"), storages={"again": builders.BUCKET})
    assert decide_delivery(back, "telegram").step is DeliveryStep.CREATE
    # It doesn't come back.
    conditions = [plan.condition if it.type == "Delivered" else it for it in gone.status.conditions]
    status = gone.status.model_copy(update={"conditions": conditions})
    late = seen(of=gone.model_copy(update={"status": status}), kind="telegram", now=86402)
    given_up = decide_delivery(late, "telegram").condition
    assert given_up.status == "False"
    assert "giveUpSeconds" in given_up.message


def test_settings_that_have_gone() -> None:
    gone: dict[str, Any] = {"chart": Deliveries(), "served_by": target()}
    plan = decide_delivery(seen(**gone), "email")
    assert (said(plan), plan.step) == (("False", "NotConfigured"), DeliveryStep.WAIT)
    # What is under way is ended; a delivery that was made is one all the same.
    plan = decide_delivery(seen(AT_WORK, job=JOB, **gone), "email")
    assert (said(plan), plan.step) == (("False", "NotConfigured"), DeliveryStep.DELETE)
    assert said(decide_delivery(seen(job=COMPLETE, **gone), "email"))[0] == "True"


def test_a_target_that_is_gone_may_come_back() -> None:
    gone: dict[str, Any] = {"chart": Deliveries(), "served_by": None}
    plan = decide_delivery(seen(**gone), "email")
    assert (said(plan), plan.step) == (("Unknown", "NotConfigured"), DeliveryStep.WAIT)
    assert plan.recheck_after
    assert said(decide_delivery(seen(now=3601, **gone), "email"))[0] == "False"


def test_a_job_that_is_refused_is_tried_again_and_given_up() -> None:
    plan = refused_delivery(seen(now=60), "email", "exceeded quota")
    assert said(plan) == ("Unknown", "Internal")
    assert "exceeded quota" in plan.condition.message
    assert plan.pause == timedelta(seconds=30)
    late = refused_delivery(seen(now=86400), "email", "exceeded quota")
    assert said(late) == ("False", "Internal")


@pytest.mark.parametrize(
    ("pods", "job", "unfinished", "sent"),
    [
        ([], None, False, False),
        ([], TELEGRAM_JOB, True, True),
        ([], replace(TELEGRAM_JOB, owner_uid="u0"), False, False),
        ([], replace(TELEGRAM_JOB, deleting=True), False, False),
        ([AT_WORK], replace(TELEGRAM_JOB, deleting=True), False, True),
        ([], replace(TELEGRAM_JOB, complete=True), False, False),
        ([AT_WORK], replace(TELEGRAM_JOB, failure="DeadlineExceeded"), False, True),
        ([AT_WORK], None, False, True),
        ([replace(AT_WORK, exit_code=143)], None, False, False),
        ([replace(AT_WORK, deletes_at="2026-01-01T00:00:00Z")], None, False, False),
    ],
)
def test_who_may_still_send_a_file(
    pods: list[ObservedPod], job: ObservedJob | None, unfinished: bool, sent: bool
) -> None:
    observation = seen(*pods, job=job, kind="telegram")
    assert is_being_sent(observation) is sent
    assert unfinished_jobs(observation) == ([job] if unfinished else [])
    # Of a mail's Job the file is not in use.
    mail = seen(*pods, job=job, kind="email")
    assert not is_being_sent(mail)
    assert unfinished_jobs(mail) == ([job] if unfinished else [])


# Which deliveries there are.


@pytest.mark.parametrize(
    ("phase", "spec", "chart", "expected"),
    [
        (Phase.SUCCEEDED, {}, {}, {}),
        (Phase.SUCCEEDED, {}, {"email": MAIL}, {}),
        (Phase.SUCCEEDED, {"notifyEmail": "a@b.example"}, {}, {"Notified": "NotConfigured"}),
        (Phase.SUCCEEDED, {"notifyEmail": "a@b.example"}, {"email": MAIL}, {"Notified": "Pending"}),
        (Phase.FAILED, {"notifyEmail": "a@b.example"}, {"email": MAIL}, {"Notified": "Pending"}),
        (Phase.CANCELLED, {"notifyEmail": "a@b.example"}, {"email": MAIL}, {"Notified": "Pending"}),
        (Phase.SUCCEEDED, {}, {"telegram": CHAT}, {"Delivered": "Pending"}),
        (Phase.FAILED, {}, {"telegram": CHAT}, {}),
        (Phase.CANCELLED, {}, {"telegram": CHAT}, {}),
    ],
)  # fmt: skip
def test_which_deliveries_an_end_leads_to(
    phase: Phase, spec: Any, chart: Any, expected: dict[str, str]
) -> None:
    observation = seen(of=export(**spec), chart=Deliveries.model_validate(chart))
    told = first_conditions(observation, phase)
    assert {condition.type: condition.reason for condition in told} == expected
    assert all((c.status == "Unknown") == (c.reason == "Pending") for c in told)


@pytest.mark.parametrize(("chart", "pending"), [({"email": MAIL}, True), ({}, None)])
def test_the_end_of_an_export_says_what_is_still_to_be_delivered(
    chart: dict[str, Any], pending: bool | None
) -> None:
    running = export(notifyEmail="a@example.com")
    running = running.model_copy(
        update={"status": running.status.model_copy(update={"phase": Phase.RUNNING})}
    )
    ending = seen(of=running, chart=Deliveries.model_validate(chart))
    status = next_status.ended(ending, Phase.FAILED, Failure(Reason.DUMP_FAILED, "No."))
    assert status.delivery_pending is pending
    assert [c.type for c in status.conditions if c.status == "True"] == ["Stalled", "Failed"]
    assert status.conditions[-1].type == "Notified"


def test_the_target_wins_over_the_chart() -> None:
    own = target(email=MAIL | {"host": "mine"}, telegram={"enabled": False})
    email = settings_for("email", own, CHART)
    assert email
    assert email.to_manifest()["host"] == "mine"
    assert settings_for("telegram", own, CHART) is None
    assert settings_for("telegram", target(), CHART) == CHART.telegram


@pytest.mark.parametrize("chart", [CHART, Deliveries()])
def test_a_file_goes_nowhere_while_the_target_is_away(chart: Deliveries) -> None:
    """It may have named another chat, or forbidden it; a mail goes to who asked for it."""
    away: dict[str, Any] = {"served_by": None, "chart": chart}
    without = seen(of=export(), **away)
    assert settings_now("telegram", without) is None
    assert settings_now("email", without) == chart.email
    (first,) = first_conditions(seen(of=export(), **away), Phase.SUCCEEDED)
    assert (first.type, first.status, first.reason) == ("Delivered", "Unknown", "Pending")
    assert not first_conditions(seen(of=export(), **away), Phase.FAILED)
    plan = decide_delivery(seen(kind="telegram", **away), "telegram")
    assert (said(plan), plan.step) == (("Unknown", "NotConfigured"), DeliveryStep.WAIT)
    assert "create it again" in plan.condition.message
    late = decide_delivery(seen(kind="telegram", now=3601, **away), "telegram")
    assert said(late) == ("False", "NotConfigured")


OF_TARGETS = [
    {"email": {"enabled": False}, "telegram": {"enabled": False}},
    {"email": MAIL | {"host": "mine"}, "telegram": CHAT},
]


@pytest.mark.parametrize("chart", [CHART, Deliveries()])
@pytest.mark.parametrize("of_target", OF_TARGETS)
def test_what_a_target_said_of_deliveries_waits_for_it(
    of_target: dict[str, Any], chart: Deliveries
) -> None:
    """It may have forbidden a mail, or narrowed its domains."""
    known = _accepted(target(**of_target))
    away: dict[str, Any] = {"served_by": None, "chart": chart, "of": known}
    first = first_conditions(seen(**away), Phase.SUCCEEDED)
    assert [(each.type, each.reason) for each in first] == [
        ("Notified", "Pending"), ("Delivered", "Pending"),
    ]  # fmt: skip
    for kind in Deliveries.kinds():
        assert settings_now(kind, seen(**away)) is None


@pytest.mark.parametrize("chart", [CHART, Deliveries()])
def test_a_target_that_said_nothing_of_deliveries_is_not_waited_for(chart: Deliveries) -> None:
    away: dict[str, Any] = {"served_by": None, "chart": chart, "of": _accepted(target())}
    assert settings_now("email", seen(**away)) == chart.email
    assert settings_now("telegram", seen(**away)) == chart.telegram
    first = first_conditions(seen(**away), Phase.SUCCEEDED)
    told = {each.type: each.reason for each in first}
    if chart is CHART:
        assert told == {"Notified": "Pending", "Delivered": "Pending"}
    else:
        # Nobody had set up the other one, so nothing is told of it.
        assert told == {"Notified": "NotConfigured"}


def _accepted(by: ExportTarget) -> BackupExport:
    """An export that wants a mail, as a status of it noted what its target said."""
    of = export(notifyEmail="a@example.com")
    return of.model_copy(update={"status": next_status.waiting(seen(of=of, served_by=by), None)})


def test_an_attempt_goes_on_while_the_target_is_away() -> None:
    away: dict[str, Any] = {"served_by": None, "kind": "telegram", "job": TELEGRAM_JOB}
    plan = decide_delivery(seen(AT_WORK, now=9, **away), "telegram")
    assert (said(plan), plan.step) == (("Unknown", "InProgress"), DeliveryStep.WAIT)
    late = decide_delivery(seen(AT_WORK, now=3601, **away), "telegram")
    assert (said(late), late.step) == (("False", "NotConfigured"), DeliveryStep.DELETE)
    failed = replace(
        TELEGRAM_JOB, failure="BackoffLimitExceeded", failed_at=timestamps.to_text(at(9))
    )
    away["job"] = failed
    plan = decide_delivery(seen(ended(ExitCode.CONNECTION_FAILED), now=99, **away), "telegram")
    assert (said(plan), plan.step) == (("Unknown", "NotConfigured"), DeliveryStep.WAIT)


def test_an_attempt_on_a_node_that_does_not_answer_is_made_again() -> None:
    stuck = replace(AT_WORK, deletes_at=timestamps.to_text(at(100)))
    plan = decide_delivery(seen(stuck, job=JOB, now=159), "email")
    assert (said(plan), plan.step) == (("Unknown", "InProgress"), DeliveryStep.WAIT)
    plan = decide_delivery(seen(stuck, job=JOB, now=160), "email")
    assert (said(plan), plan.step) == (("Unknown", "Internal"), DeliveryStep.DELETE)
    assert "node of the attempt's pod" in plan.condition.message
    assert plan.pause == timedelta(seconds=80)


@pytest.mark.parametrize(
    ("code", "expected", "step"),
    [
        (ExitCode.CONNECTION_FAILED, ("Unknown", "ConnectionFailed"), DeliveryStep.DELETE),
        (ExitCode.DELIVERY_REFUSED, ("False", "Refused"), DeliveryStep.WAIT),
        (ExitCode.SUCCESS, ("True", "Succeeded"), DeliveryStep.WAIT),
    ],
)
def test_an_attempt_has_ended_though_a_sidecar_keeps_its_pod(
    code: int, expected: tuple[str, str], step: DeliveryStep
) -> None:
    pod = replace(ended(code, "Said."), phase="Running", kept_by=("proxy",))
    plan = decide_delivery(seen(pod, job=JOB, now=3), "email")
    assert (said(plan), plan.step) == (expected, step)


# What is told of it.


def test_events() -> None:
    before = export([told("email"), told("telegram")]).status
    delayed = export([told("email", "ConnectionFailed", "Away."), told("telegram")]).status
    (event,) = events_between(before, delayed)
    assert (event.type, event.reason, event.message) == (
        "Warning", "DeliveryDelayed", "email: Away.",
    )  # fmt: skip
    still = export([told("email", "ConnectionFailed", "Still away."), told("telegram")]).status
    assert events_between(delayed, still) == []
    over = export(
        [
            told("email", "ConnectionFailed", "Given up.", "False"),
            told("telegram", "Succeeded", "Sent.", "True"),
        ]
    ).status
    assert [(e.type, e.reason, e.message) for e in events_between(still, over)] == [
        ("Warning", "DeliveryFailed", "email: Given up."),
        ("Normal", "Delivered", "telegram: Sent."),
    ]
    assert [kind for kind, _ in settled_between(still, over)] == ["email", "telegram"]
    assert settled_between(over, over) == delayed_between(over, over) == []


def test_a_mail_that_is_not_configured_is_told_at_the_end_of_the_export() -> None:
    before = export().status
    after = export([told("email", "NotConfigured", "Ask.", "False")]).status
    (event,) = events_between(before, after)
    assert (event.reason, event.message) == ("DeliveryFailed", "email: Ask.")
    assert conditions_by_kind(after)["email"].reason == "NotConfigured"


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("changes", [{}, {"deleting": True}, {"owner_uid": "another"}])
def test_what_is_sent_is_sent_but_by_another_exports_job(kind: str, changes: Any) -> None:
    """The order of the steps: another's Job first, then success, then everything else."""
    job = replace(COMPLETE, **changes)
    plan = decide_delivery(seen(ended(0), job=job, kind=kind, chart=Deliveries()), kind)
    expected = "Unknown" if changes.get("owner_uid") else "True"
    assert plan.condition.status == expected


def test_a_delivery_that_is_configured_no_more_ends_though_its_job_is_being_deleted() -> None:
    plan = decide_delivery(seen(job=replace(JOB, deleting=True), chart=Deliveries()), "email")
    assert said(plan) == ("False", "NotConfigured")


def test_a_suspended_job_is_waited_for_longer_than_one_that_does_not_start() -> None:
    late = (START_PATIENCE + timedelta(minutes=1)).total_seconds()
    plan = decide_delivery(seen(job=replace(JOB, suspended=True), now=late), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("Unknown", "InProgress"))


def test_a_resumed_job_has_the_time_of_a_new_one() -> None:
    late = START_PATIENCE + timedelta(minutes=1)
    resumed = replace(JOB, started_at=timestamps.to_text(at(late.total_seconds() - 1)))
    plan = decide_delivery(seen(job=resumed, now=late.total_seconds()), "email")
    assert (plan.step, said(plan)) == (DeliveryStep.WAIT, ("Unknown", "InProgress"))
    plan = decide_delivery(seen(job=resumed, now=2 * late.total_seconds()), "email")
    assert plan.step is DeliveryStep.DELETE


def test_a_nodes_clock_gives_no_delivery_up() -> None:
    """The export's end is as its node told it, which is a day behind."""
    early = export([told("email")], notifyEmail="a@example.com")
    status = early.status.model_copy(
        update={"completion_time": timestamps.to_text(ENDED - timedelta(days=2))}
    )
    early = early.model_copy(update={"status": status})
    pod = ended(ExitCode.CONNECTION_FAILED, "Away.")
    assert said(decide_delivery(seen(pod, job=failed(2), of=early, now=3), "email")) == (
        "Unknown", "ConnectionFailed"
    )  # fmt: skip


def limited(**more: Any) -> Deliveries:
    return Deliveries.model_validate({"email": MAIL | more})


def allowed(chart: Deliveries, own: dict[str, Any] | None = None) -> Any:
    settings = settings_for("email", target(email=own) if own else TARGET, chart)
    assert settings
    return settings.to_manifest().get("allowedDomains")


def test_a_target_narrows_where_mails_may_go_and_never_widens_it() -> None:
    chart = limited(allowedDomains=["a.example", "B.example"])
    assert allowed(chart) == ["a.example", "B.example"]
    assert allowed(chart, MAIL) == ["a.example", "B.example"]
    assert allowed(chart, MAIL | {"allowedDomains": ["b.example", "c.example"]}) == ["b.example"]
    assert allowed(chart, MAIL | {"allowedDomains": ["c.example"]}) == []
    # Though the chart's mails are off, its limits hold.
    assert allowed(limited(allowedDomains=["a.example"], enabled=False), MAIL) == ["a.example"]
    assert allowed(CHART, MAIL | {"allowedDomains": ["c.example"]}) == ["c.example"]


@pytest.mark.parametrize(("own", "most"), [(None, 5), (3, 3), (9, 5)])
def test_a_target_lowers_how_many_mails_an_address_gets(own: int | None, most: int) -> None:
    of_target = MAIL | ({"maxPerHour": own} if own else {})
    settings = settings_for("email", target(email=of_target), limited(maxPerHour=5))
    assert settings
    assert settings.to_manifest()["maxPerHour"] == most


@pytest.mark.parametrize(
    ("domains", "is_refused"),
    [
        (None, False), (["EXAMPLE.com"], False), ([], True), (["other.example"], True),
        (["ample.com"], True), (["com"], True), (["sub.example.com"], True),
    ],
)  # fmt: skip
def test_no_mail_goes_to_a_domain_that_is_not_allowed(
    domains: list[str] | None, is_refused: bool
) -> None:
    email = CHART.email
    assert email
    chart = Deliveries(email=email.model_copy(update={"allowed_domains": domains}))
    plan = decide_delivery(seen(chart=chart), "email")
    assert (plan.step is DeliveryStep.CREATE) != is_refused
    if is_refused:
        assert (plan.condition.status, plan.condition.reason) == ("False", "Refused")
        assert "deliveries.email.allowedDomains" in plan.condition.message
