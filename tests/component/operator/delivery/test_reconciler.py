"""Deliveries of finished exports, over a Kubernetes API and its watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import builders
import pytest
from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Outcome, delivery_task
from backupexport_operator.delivery import decision
from backupexport_operator.delivery.reconciler import DeliveryReconciler
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.export_cache import ExportCache, World
from backupexport_operator.observed.jobs_and_pods import export_uid_of
from backupexport_operator.telemetry.metrics import OperatorMetrics
from builders import Manifest
from expositions import value
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from fake_kubernetes.storage import Change
from kubernetes.aio import client
from seen_world import live_world, picture
from waiting import until

CHART = Deliveries.model_validate(
    {
        "email": {"host": "mail", "from": "exports@example.com"},
        "telegram": {"secretRef": {"name": "bot"}},
    }
)
WRITES = "create jobs|delete jobs|patch backupexports/status"
QUOTA = "jobs is forbidden: exceeded quota: team"


def finished(number: int = 1, project_id: str = "p", *kinds: str, **metadata: Any) -> Manifest:
    now = builders.ago(0)
    told = [
        builders.condition(
            Deliveries.kinds()[kind].condition_type, "Unknown", "Pending", "Soon.", now
        )
        for kind in kinds or ("email",)
    ]
    return builders.export_manifest(
        f"e{number}",
        {"projectId": project_id, "notifyEmail": "a@example.com"},
        {
            "phase": "Succeeded",
            "completionTime": now,
            "conditions": told,
            "deliveryPending": True,
        },
        uid=f"uid-{number}",
        creationTimestamp=now,
        **metadata,
    )


class Exports:
    """What the test does to the API's objects, and what the operator has done to them."""

    def __init__(self, kubernetes: FakeKubernetes, *exports: Manifest) -> None:
        self.kubernetes = kubernetes
        self.add(*exports)

    def add(self, *exports: Manifest) -> None:
        """Exports that have ended, and their projects' targets."""
        for export in exports:
            self.settings(export["spec"]["projectId"])
        self.kubernetes.seed("backupexports", *exports)

    def settings(self, project_id: str, **deliveries: Any) -> None:
        """The project's target, as it is from now on."""
        name = f"t-{project_id}"
        if name in self.kubernetes.objects("exporttargets"):
            self.kubernetes.change("exporttargets", name, {"spec": {"deliveries": deliveries}})
        else:
            target = builders.target_manifest(project_id, name, deliveries=deliveries)
            self.kubernetes.seed("exporttargets", target)

    def end(self, number: int, kind: str, code: int, message: str, ago: float = 0) -> None:
        """The attempt's Job ends."""
        name = names.task_job_name(f"e{number}", delivery_task(kind))
        job = self.kubernetes.objects("jobs")[name]
        pod = builders.pod_manifest(
            job, f"{name}-{len(self.made)}", builders.ended(code, Outcome(message=message))
        )
        self.kubernetes.seed("pods", pod)
        created = timestamps.from_text(job["metadata"]["creationTimestamp"])
        at = timestamps.to_text(created - timedelta(seconds=ago))
        status = builders.failed(at=at) if code else builders.complete()
        self.kubernetes.change("jobs", name, {"status": status})

    @property
    def made(self) -> list[str]:
        """Every Job that was made, in order."""
        calls = [call for call in self.kubernetes.calls if str(call) == "create jobs"]
        return [call.body["metadata"]["name"] for call in calls if call.status == 201]

    @property
    def deleted(self) -> list[str]:
        calls = [call for call in self.kubernetes.calls if str(call) == "delete jobs"]
        return [call.name for call in calls if call.status == 200]

    def count(self, request: str, status: int = 200) -> int:
        return sum(str(call) == request and call.status == status for call in self.kubernetes.calls)

    def export(self, number: int = 1) -> BackupExport:
        stored = self.kubernetes.objects("backupexports")[f"e{number}"]
        return BackupExport.model_validate(stored)

    def told(self, number: int = 1) -> dict[str, tuple[str, str]]:
        conditions = self.export(number).status.conditions
        return {condition.type: (condition.status, condition.reason) for condition in conditions}


class Running:
    """A reconciler at work; it knows of targets what the watch has told."""

    def __init__(
        self, kubernetes: FakeKubernetes, api_client: client.ApiClient, chart: Deliveries
    ) -> None:
        self._live = live_world(kubernetes)
        self._kubernetes = kubernetes
        self.targets: dict[str, Any] = {}
        self.look_at_targets()
        world = World(exports={}, targets=self.targets, jobs=self._live.jobs, pods=self._live.pods)
        self.metrics = OperatorMetrics()
        self.recorder = EventRecorder(api_client, NAMESPACE, "operator-0")
        self.reconciler = DeliveryReconciler(
            ExportCache(world, 4, None, 2, chart, storages=builders.STORAGES),
            Cluster(api_client, NAMESPACE),
            self.recorder,
            self.metrics,
            JobSettings(namespace="n", runner_image="i", storages=builders.STORAGES),
        )
        kubernetes.listeners.append(self._job_went)
        self.task = asyncio.create_task(self.reconciler.watch_for_ever())

    def look_at_targets(self) -> None:
        """Hear how the targets are now."""
        self.targets.update(picture(self._live.targets))

    def pending(self, kind: str) -> int:
        return len(self.reconciler.pending()[kind])

    async def ask(self, *uids: str) -> None:
        """Ask for these exports, and see all work done that can be done."""
        for uid in uids:
            self.reconciler.ask(uid)
        await until(lambda: self.reconciler.queue.length == 0)

    async def events(self) -> list[tuple[str, str, str]]:
        """Every Event that was posted, once nothing is at work any more."""
        await self.ask()
        await self.recorder._waiting.join()
        posted = self._kubernetes.objects("events").values()
        return [(event["type"], event["reason"], event["note"]) for event in posted]

    async def stop(self) -> None:
        self._kubernetes.listeners.remove(self._job_went)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.reconciler.queue.stop()
        await self.recorder.stop()

    def _job_went(self, change: Change) -> None:
        """Ask, as the watch of Jobs does."""
        if change.kind.plural == "jobs" and change.new is None and change.old is not None:
            self.reconciler.ask(export_uid_of(change.old) or "")


Start = Callable[..., Running]
Fill = Callable[..., Exports]


@pytest.fixture
def exports_of(kubernetes: FakeKubernetes) -> Fill:
    return lambda *exports: Exports(kubernetes, *exports)


@pytest.fixture
async def start(kubernetes: FakeKubernetes, api_client: client.ApiClient) -> AsyncIterator[Start]:
    """Start a reconciler; those that no test has stopped end with it."""
    started: list[Running] = []

    def begin(chart: Deliveries = CHART) -> Running:
        started.append(Running(kubernetes, api_client, chart))
        return started[-1]

    yield begin
    for running in started:
        if not running.task.done():
            await running.stop()


@pytest.fixture
def _long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two attempts ends while a test looks."""
    monkeypatch.setattr(decision, "SHORTEST_PAUSE", timedelta(hours=1))


async def test_a_mail_from_its_job_to_its_end(exports_of: Fill, start: Start) -> None:
    exports = exports_of(finished())
    running = start()
    await until(lambda: exports.made == ["deliver-email-bex-e1"])
    assert running.pending("email") == 1
    exports.end(1, "email", 0, "The mail server took it.")
    running.reconciler.ask("uid-1")
    await until(lambda: exports.told() == {"Notified": ("True", "Succeeded")})
    assert exports.export().status.delivery_pending is None
    await until(lambda: running.pending("email") == 0)
    assert await running.events() == [("Normal", "Notified", "email: The mail server took it.")]
    total = "backupexport_deliveries_total"
    assert value(running.metrics.registry, total, kind="email", reason="Succeeded") == 1


async def test_what_a_delivery_writes_is_of_the_exports_generation(
    exports_of: Fill, start: Start
) -> None:
    """An older CRD let users cancel what had ended."""
    exports = exports_of(finished(generation=2))
    kubernetes = exports.kubernetes
    before = [*kubernetes.objects("backupexports")["e1"]["status"]["conditions"]]
    before.insert(0, builders.condition("Complete", "True", "Succeeded"))
    status = {"observedGeneration": 1, "conditions": before}
    kubernetes.change("backupexports", "e1", {"status": status})
    running = start()
    await until(lambda: exports.made == ["deliver-email-bex-e1"])
    exports.end(1, "email", 0, "The mail server took it.")
    running.reconciler.ask("uid-1")
    await until(lambda: exports.told().get("Notified") == ("True", "Succeeded"))
    written = exports.export().status
    assert written.observed_generation == 2
    assert [c.observed_generation for c in written.conditions] == [2, 2]


@pytest.mark.parametrize(
    ("code", "reason"), [(0, "Succeeded"), (ExitCode.DELIVERY_REFUSED, "Refused")]
)
async def test_the_job_of_a_delivery_that_has_ended_goes_where_a_sidecar_keeps_it(
    exports_of: Fill, start: Start, code: int, reason: str
) -> None:
    exports = exports_of(finished())
    running = start()
    await until(lambda: exports.made == ["deliver-email-bex-e1"])
    job = exports.kubernetes.objects("jobs")["deliver-email-bex-e1"]
    pod = builders.pod_manifest(job, "pod-a", builders.ended(code, Outcome(message="It ended.")))
    pod["status"]["phase"] = "Running"
    pod["status"]["containerStatuses"].append({"name": "proxy", "state": builders.running()})
    exports.kubernetes.seed("pods", pod)
    running.reconciler.ask("uid-1")
    await until(lambda: exports.deleted == ["deliver-email-bex-e1"])
    assert exports.told()["Notified"][1] == reason
    calls = [str(call) for call in exports.kubernetes.calls]
    written = len(calls) - 1 - calls[::-1].index("patch backupexports/status")
    assert written < calls.index("delete jobs")
    assert exports.made == ["deliver-email-bex-e1"]


async def test_one_kind_fails_and_the_other_goes_on(exports_of: Fill, start: Start) -> None:
    exports = exports_of(finished(1, "p", "email", "telegram"))
    running = start()
    await until(lambda: len(exports.made) == 2)
    exports.end(1, "email", ExitCode.DELIVERY_REFUSED, "No such mailbox.")
    running.reconciler.ask("uid-1")
    await until(lambda: exports.told()["Notified"] == ("False", "Refused"))
    assert exports.export().status.delivery_pending
    assert exports.export().phase == "Succeeded"
    exports.end(1, "telegram", 0, "Sent.")
    running.reconciler.ask("uid-1")
    await until(lambda: exports.told()["Delivered"] == ("True", "Succeeded"))
    assert exports.export().status.delivery_pending is None
    assert sorted(exports.made) == ["deliver-email-bex-e1", "deliver-telegram-bex-e1"]


async def test_what_may_heal_gets_another_job(exports_of: Fill, start: Start) -> None:
    exports = exports_of(finished())
    running = start()
    await until(lambda: len(exports.made) == 1)
    exports.end(1, "email", ExitCode.CONNECTION_FAILED, "Away.", ago=10)
    running.reconciler.ask("uid-1")
    await until(lambda: len(exports.made) == 2)
    assert exports.deleted == ["deliver-email-bex-e1"]
    assert exports.told() == {"Notified": ("Unknown", "Pending")}


async def test_one_delivery_of_a_project_at_a_time(exports_of: Fill, start: Start) -> None:
    exports = exports_of(finished(1, "a"), finished(2, "a"), finished(3, "b"))
    running = start()
    await until(lambda: len(exports.made) == 2)
    assert sorted(exports.made) == ["deliver-email-bex-e1", "deliver-email-bex-e3"]
    exports.end(1, "email", 0, "Sent.")
    running.reconciler.ask("uid-1")
    await until(lambda: len(exports.made) == 3)


async def test_a_restart_finds_what_is_under_way(exports_of: Fill, start: Start) -> None:
    exports = exports_of(finished(1, "a"), finished(2, "a"))
    running = start()
    await until(lambda: len(exports.made) == 1)
    await running.stop()
    running = start()
    await until(lambda: running.pending("email") == 2)
    await running.ask("uid-2")
    assert len(exports.made) == 1
    exports.end(1, "email", 0, "Sent.")
    running.reconciler.ask("uid-1")
    await until(lambda: len(exports.made) == 2)
    assert exports.made == ["deliver-email-bex-e1", "deliver-email-bex-e2"]


@pytest.mark.usefixtures("_long_pauses")
async def test_a_refused_job_is_told_and_not_asked_for_again_at_once(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes
) -> None:
    exports = exports_of(finished(1, "a"))
    kubernetes.faults.append(Fault("create jobs", status=403, message=QUOTA, times=50))
    running = start()
    await until(lambda: exports.told() == {"Notified": ("Unknown", "Internal")})
    ((_, reason, message),) = await running.events()
    assert reason == "DeliveryDelayed"
    assert "exceeded quota" in message
    exports.add(finished(2, "b"))
    await until(lambda: running.pending("email") == 2)
    for _ in range(20):
        await running.ask("uid-1", "uid-2")
    # One refusal stands for all of the kind.
    assert exports.count("create jobs", 403) == 1
    assert exports.count("patch backupexports/status") == 1


async def test_all_that_wait_come_to_an_end_when_it_is_turned_off(
    exports_of: Fill, start: Start
) -> None:
    """Each is woken in vain: none of them needs the place any more."""
    exports = exports_of(*(finished(number, "p") for number in range(1, 6)))
    running = start()
    await until(lambda: len(exports.made) == 1)
    exports.settings("p", email={"enabled": False})
    running.look_at_targets()
    running.reconciler.ask("uid-1")
    await until(
        lambda: all(
            exports.told(number) == {"Notified": ("False", "NotConfigured")}
            for number in range(1, 6)
        )
    )


async def test_a_job_that_is_refused_for_itself_keeps_nobody_else_waiting(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes
) -> None:
    exports = exports_of(finished(1, "a"), finished(2, "b"))
    kubernetes.faults.append(Fault("create jobs", status=403, message="a webhook says no"))
    start()
    await until(lambda: len(exports.made) == 1)
    (refused,) = [call for call in kubernetes.calls if call.status == 403]
    assert exports.made != [refused.body["metadata"]["name"]]
    await until(
        lambda: ("Unknown", "Internal") in [exports.told(number)["Notified"] for number in (1, 2)]
    )


@pytest.mark.usefixtures("_long_pauses")
async def test_writes_come_to_an_end(exports_of: Fill, start: Start) -> None:
    """What the operator writes comes back to it, and must not make it write again."""
    exports = exports_of(finished())
    running = start()
    await until(lambda: len(exports.made) == 1)
    exports.end(1, "email", ExitCode.CONNECTION_FAILED, "Away.")
    too_late = builders.failed("DeadlineExceeded")
    exports.kubernetes.change("jobs", "deliver-email-bex-e1", {"status": too_late})
    running.reconciler.ask("uid-1")
    await until(lambda: exports.told() == {"Notified": ("Unknown", "DeadlineExceeded")})
    await running.ask()
    before = exports.count("patch backupexports/status")
    for _ in range(20):
        await running.ask("uid-1")
    assert exports.count("patch backupexports/status") == before


async def test_what_cannot_be_taken_back_rests_on_what_is_read_afresh(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes
) -> None:
    """The watches have not told yet that the target now has another chat than the chart."""
    exports = exports_of(finished(1, "p", "telegram"))
    start()
    exports.settings("p", telegram={"secretRef": {"name": "own-bot"}})
    await until(lambda: len(exports.made) == 1)
    pod = kubernetes.objects("jobs")["deliver-telegram-bex-e1"]["spec"]["template"]["spec"]
    (secret,) = [volume for volume in pod["volumes"] if "projected" in volume]
    assert secret["projected"]["sources"][0]["secret"]["name"] == "own-bot"


async def test_settings_of_a_target_alone_are_found_too(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes
) -> None:
    exports = exports_of(finished(1, "p", "telegram"))
    kubernetes.remove("exporttargets", "t-p")
    running = start(Deliveries())
    # The watch tells of the target a little later than of the export.
    await until(lambda: exports.told()["Delivered"] == ("Unknown", "NotConfigured"))
    await until(lambda: running.pending("telegram") == 0)
    exports.settings("p", telegram={"secretRef": {"name": "own-bot"}})
    running.look_at_targets()
    running.reconciler.project_changed("other")
    running.reconciler.project_changed("p")
    await until(lambda: len(exports.made) == 1)
    running.reconciler.ask("uid-1")
    await until(lambda: running.pending("telegram") == 1)
    assert exports.told()["Delivered"] == ("Unknown", "InProgress")


async def test_another_ones_job_is_in_the_way(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes
) -> None:
    """One that the watch tells nothing of, because it is not labelled as this export's."""
    exports = exports_of(finished(1, "a"), finished(2, "a"))
    name = "deliver-email-bex-e1"
    somebody = {"kind": "ExportTarget", "name": "t-a", "uid": "t-a", "controller": True}
    kubernetes.seed(
        "jobs",
        {
            "metadata": {
                "name": name,
                "creationTimestamp": builders.CREATED,
                "ownerReferences": [somebody],
            }
        },
    )
    start()
    await until(lambda: len(exports.made) == 1)
    assert exports.made == ["deliver-email-bex-e2"]
    assert exports.told() == {"Notified": ("Unknown", "Pending")}
    assert name in kubernetes.objects("jobs")


async def test_a_delivery_that_is_turned_off_is_stopped(exports_of: Fill, start: Start) -> None:
    exports = exports_of(finished(1, "p", "email", "telegram"))
    running = start()
    await until(lambda: len(exports.made) == 2)
    exports.add(finished(2, "p", "telegram"))
    await until(lambda: running.pending("telegram") == 2)
    await running.ask()
    exports.settings("p", telegram={"enabled": False})
    running.look_at_targets()
    running.reconciler.ask("uid-1")
    await until(lambda: exports.told()["Delivered"] == ("False", "NotConfigured"))
    assert exports.deleted == ["deliver-telegram-bex-e1"]
    # Its place is free, though the export's other delivery is still made.
    await until(lambda: exports.told(2)["Delivered"] == ("False", "NotConfigured"))


async def test_nothing_is_delivered_of_an_export_that_is_deleted(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes
) -> None:
    exports = exports_of(
        finished(1, "a", "email", "telegram", finalizers=["x/y"]), finished(2, "a")
    )
    running = start()
    await until(lambda: len(exports.made) == 2)
    kubernetes.delete("backupexports", "e1")
    await until(lambda: len(exports.made) == 3)
    assert exports.deleted == ["deliver-email-bex-e1", "deliver-telegram-bex-e1"]
    assert exports.made[2] == "deliver-email-bex-e2"
    await running.ask("uid-1")
    assert len(exports.made) == 3


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(1, 5))
async def test_the_operators_death_at_any_write(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes, at: int, before: bool
) -> None:
    """A first attempt fails, a second goes well, and the operator dies somewhere on the way.

    It dies at its n-th write: just before the API server gets it, or just after.
    """
    exports = exports_of(finished())
    death = Fault(WRITES, is_held=True, is_stored=not before, skip=at - 1)
    kubernetes.faults.append(death)
    running = [start()]
    deaths: list[int] = []

    async def until_or_dead(condition: Callable[[], bool]) -> None:
        await until(lambda: condition() or (death.met == 1 and not deaths))
        if not condition():
            deaths.append(at)
            await running.pop().stop()
            running.append(start())
            await until(condition)

    await until_or_dead(lambda: len(exports.made) == 1)
    exports.end(1, "email", ExitCode.CONNECTION_FAILED, "Away.", ago=10)
    running[0].reconciler.ask("uid-1")
    await until_or_dead(lambda: len(exports.made) == 2)
    exports.end(1, "email", 0, "Sent.")
    running[0].reconciler.ask("uid-1")
    await until_or_dead(lambda: exports.told() == {"Notified": ("True", "Succeeded")})
    assert exports.export().status.delivery_pending is None
    assert len(exports.made) == 2
    assert exports.deleted.count("deliver-email-bex-e1") in (1, 2)
    assert death.met == 1


async def test_an_address_gets_no_more_than_its_mails_an_hour(
    exports_of: Fill, start: Start
) -> None:
    numbers = range(1, 6)
    exports = exports_of(*(finished(number, f"p{number}") for number in numbers))
    running = start(
        Deliveries.model_validate(
            {"email": {"host": "mail", "from": "exports@example.com", "maxPerHour": 2}}
        )
    )

    def waiting() -> list[int]:
        return [n for n in numbers if exports.told(n) == {"Notified": ("Unknown", "Deferred")}]

    await until(lambda: len(waiting()) == 3)
    await running.ask(*(f"uid-{number}" for number in numbers))
    assert len(exports.made) == 2
    assert len(waiting()) == 3
    for name in exports.made:
        exports.end(int(name[-1]), "email", 0, "The mail server took it.")
    await running.ask(*(f"uid-{number}" for number in numbers))
    # Those that were taken count, too.
    assert len(exports.made) == 2


@pytest.mark.parametrize("lost", [{"status": 500}, {"status": 504}, {"is_cut": True}])
async def test_nobody_elses_delivery_begins_while_a_job_may_have_been_made(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes, lost: dict[str, Any]
) -> None:
    """Of a project's two, the first one's is carried out; no watch or list tells so for a while."""
    exports = exports_of(finished(1), finished(2))
    create = Fault("create jobs", is_stored=True, **lost)
    unreadable = Fault("list jobs", status=503, skip=1, times=3)
    kubernetes.faults += [create, unreadable]
    running = start()
    world = running.reconciler.cache.world
    running.reconciler.cache.world = replace(world, jobs={}, pods={})
    await until(lambda: create.met == 1)
    (first,) = (job["metadata"]["labels"] for job in kubernetes.objects("jobs").values())
    number = int(first[names.LABEL_EXPORT_UID].removeprefix("uid-"))
    other = 3 - number
    while unreadable.met < 3:
        running.reconciler.ask(f"uid-{other}")
        running.reconciler.ask(f"uid-{number}")
        await asyncio.sleep(0.01)
    await running.ask(f"uid-{other}")
    await until(lambda: exports.count("list jobs") > 1)
    assert (len(kubernetes.objects("jobs")), len(exports.made)) == (1, 0)
    running.reconciler.cache.world = world
    exports.end(number, "email", 0, "Sent.")
    running.reconciler.ask(f"uid-{number}")
    await until(lambda: exports.told(number) == {"Notified": ("True", "Succeeded")})
    await until(lambda: len(exports.made) == 1)


@pytest.mark.parametrize("lost", [{"status": 504}, {"is_cut": True}])
async def test_an_end_that_was_written_though_the_answer_was_lost_is_told(
    exports_of: Fill, start: Start, kubernetes: FakeKubernetes, lost: dict[str, Any]
) -> None:
    """By its Event, and by the number of deliveries."""
    exports = exports_of(finished())
    running = start()
    await until(lambda: len(exports.made) == 1)
    exports.end(1, "email", ExitCode.DELIVERY_REFUSED, "No such mailbox.")
    write = Fault("patch backupexports/status", is_stored=True, **lost)
    kubernetes.faults.append(write)
    running.reconciler.ask("uid-1")
    await until(lambda: exports.told() == {"Notified": ("False", "Refused")})
    assert write.met == 1
    await until(lambda: exports.export().status.delivery_pending is None)
    assert [reason for _, reason, _ in await running.events()] == ["DeliveryFailed"]
