"""The disposal of finished exports, over a Kubernetes API and its watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import builders
import pytest
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.runner_protocol import TASK_REMOVE, Outcome, delivery_task
from backupexport_operator.cleanup.batches import MOST_BATCHES_OF_A_PLACE, MOST_FILES
from backupexport_operator.cleanup.jobs import CleanupJobs
from backupexport_operator.cleanup.reconciler import CleanupReconciler
from backupexport_operator.kube.client import SERVER_AWAY
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.manifests.jobs import removal_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.observed.jobs_and_pods import export_uid_of, observed_job
from backupexport_operator.observed.places import Place
from backupexport_operator.telemetry.metrics import OperatorMetrics
from builders import Manifest
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import GONE, NAMESPACE, FakeKubernetes
from fake_kubernetes.storage import Change
from kubernetes.aio import client
from seen_world import live_world
from waiting import until

PAST = "2026-01-29T15:30:59Z"
DEFAULTS = JobSettings(namespace=NAMESPACE, runner_image="i", storages=builders.STORAGES)
FINALIZER = "backupexport.dev/artifact"


def expired(number: int, **metadata: Any) -> Manifest:
    status = {
        "phase": "Succeeded",
        "artifact": builders.ARTIFACT_STATUS,
        "expirationTime": PAST,
        "disposalPending": True,
    }
    return builders.export_manifest(f"e{number}", status=status, uid=f"uid-{number}", **metadata)


def refused(kubernetes: FakeKubernetes) -> list[int | None]:
    return [it.status for it in kubernetes.calls if str(it) == "delete backupexports"]


class Running:
    """A reconciler at work."""

    def __init__(self, kubernetes: FakeKubernetes, api_client: client.ApiClient) -> None:
        self.kubernetes = kubernetes
        # The exports whose removals were made, in order.
        self.made: list[str] = []
        self.ended = 0
        kubernetes.listeners += [self._note_made, self._ask]
        writer = Cluster(api_client, NAMESPACE)
        self.recorder = EventRecorder(api_client, NAMESPACE, "operator-0")
        self.reconciler = CleanupReconciler(
            ExportCache(live_world(kubernetes), 4, None, 2, storages=builders.STORAGES),
            writer,
            self.recorder,
            OperatorMetrics(),
            CleanupJobs(writer, DEFAULTS),
        )
        self.task = asyncio.create_task(self.reconciler.watch_for_ever())

    def exports(self) -> list[str]:
        return list(self.kubernetes.objects("backupexports"))

    def batches(self) -> list[str]:
        """The Jobs that remove files and have not ended."""
        jobs = map(observed_job, self.kubernetes.objects("jobs").values())
        return [it.name for it in jobs if it.batch and not (it.complete or it.failure)]

    def finish(self, name: str, missing: tuple[str, ...] = ()) -> None:
        """The removal's Job ends well, and finds all files but those of `missing`."""
        job = self.kubernetes.objects("jobs")[name]
        uids = observed_job(job).batch
        outcome = Outcome(missing=tuple(uids.index(uid) for uid in missing))
        self.ended += 1
        pod = builders.pod_manifest(job, f"r-{self.ended}", builders.ended(0, outcome))
        self.kubernetes.seed("pods", pod)
        self.kubernetes.change("jobs", name, {"status": builders.complete()})

    async def events(self) -> list[Manifest]:
        """Every Event that was posted."""
        await self.recorder._waiting.join()
        return list(self.kubernetes.objects("events").values())

    async def ask(self, *uids: str) -> None:
        """Ask for these exports, and see all work done that can be done."""
        for uid in uids:
            self.reconciler.ask(uid)
        reconciler = self.reconciler
        await until(lambda: reconciler.queue.length == reconciler.batch_queue.length == 0)

    async def watch_anew(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.task = asyncio.create_task(self.reconciler.watch_for_ever())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        ours = (self._note_made, self._ask)
        self.kubernetes.listeners[:] = [it for it in self.kubernetes.listeners if it not in ours]
        await self.reconciler.stop()
        await self.recorder.stop()

    def _note_made(self, change: Change) -> None:
        if change.kind.plural == "jobs" and change.old is None and change.new is not None:
            self.made += observed_job(change.new).batch

    def _ask(self, change: Change) -> None:
        """As kopf's handlers do."""
        manifest = change.new or change.old
        if change.kind.plural in ("jobs", "pods") and manifest is not None:
            key = str(export_uid_of(manifest))
            asyncio.get_running_loop().call_soon(self.reconciler.ask, key)


@pytest.fixture
async def start(
    kubernetes: FakeKubernetes, api_client: client.ApiClient
) -> AsyncIterator[Callable[[], Running]]:
    started: list[Running] = []

    def begin() -> Running:
        started.append(Running(kubernetes, api_client))
        return started[-1]

    yield begin
    for running in started:
        await running.stop()


Start = Callable[[], Running]


async def test_a_file_goes_when_nothing_sends_it_any_more(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    export, _ = kubernetes.seed("backupexports", expired(1), expired(2))
    (sender,) = kubernetes.seed(
        "jobs", builders.job_manifest(export, delivery_task("telegram"), builders.complete())
    )
    kubernetes.seed("pods", builders.pod_manifest(sender, "s"))
    running = start()
    await until(lambda: running.made == ["uid-2"])
    await running.ask("uid-1")
    assert running.made == ["uid-2"]
    kubernetes.change("pods", "s", {"status": builders.pod_status(builders.ended(0))})
    await running.ask("uid-1")
    await until(lambda: running.made == ["uid-2", "uid-1"])


async def test_what_has_expired_loses_its_file_and_then_its_resource(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1))
    running = start()
    await until(lambda: running.made == ["uid-1"])
    await running.ask("uid-1")
    assert running.exports() == ["e1"]
    (job,) = running.batches()
    running.finish(job)
    await until(lambda: running.exports() == [])
    # Its Job, and that one's pod, are not needed any more.
    await until(lambda: not kubernetes.objects("jobs"))
    assert not kubernetes.objects("pods")


async def test_another_export_of_the_name_is_not_deleted(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    """It came after the watch was heard last."""
    kubernetes.seed("backupexports", expired(1))
    running = start()
    await until(lambda: running.made == ["uid-1"])
    await running.ask()
    late = Fault("delete backupexports", is_held=True)
    kubernetes.faults.append(late)
    (job,) = running.batches()
    running.finish(job)
    await until(lambda: late.met == 1)
    kubernetes.remove("backupexports", "e1")
    kubernetes.seed("backupexports", builders.export_manifest("e1", uid="uid-2"))
    late.release()
    await until(lambda: refused(kubernetes) == [409])
    assert running.exports() == ["e1"]


async def test_a_thousand_that_expire_together_go_in_batches(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", *(expired(number) for number in range(1000)))
    running = start()
    await until(lambda: len(running.batches()) == MOST_BATCHES_OF_A_PLACE)
    # They come in pages.
    await until(lambda: len(running.reconciler._exports) == 1000)
    await running.ask()
    assert len(running.batches()) == MOST_BATCHES_OF_A_PLACE
    assert len(running.made) <= MOST_FILES * MOST_BATCHES_OF_A_PLACE
    while running.exports():
        for job in running.batches():
            running.finish(job)
        await until(lambda: bool(running.batches()) or not running.exports())
    assert len(set(running.made)) == len(running.made) == 1000
    calls = [str(call) for call in kubernetes.calls if call.kind.plural != "events"]
    # The first may be small, made before the others had been seen.
    fewest = 1000 // MOST_FILES
    assert fewest <= calls.count("create jobs") <= fewest + MOST_BATCHES_OF_A_PLACE
    await until(lambda: not kubernetes.objects("jobs"))
    # Deleting each is all that it takes.
    assert 1000 <= calls.count("delete backupexports") < 1100


async def test_a_removal_whose_export_is_gone_at_the_next_list_is_no_longer_asked_for(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1), expired(2))
    running = start()
    await until(lambda: len(running.made) == 2)
    running.task.cancel()
    await running.ask()
    kubernetes.remove("backupexports", "e1")
    await running.watch_anew()
    (job,) = running.batches()
    running.finish(job)
    await until(lambda: running.exports() == [])
    await until(lambda: not kubernetes.objects("jobs"))


async def test_a_new_leader_finds_the_batch_of_another(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1), expired(2))
    first = start()
    await until(lambda: len(first.made) == 2)
    await first.stop()
    second = start()
    await until(lambda: kubernetes.watching("backupexports") == 1)
    await second.ask("uid-1", "uid-2")
    assert second.made == []
    (job,) = second.batches()
    second.finish(job)
    await until(lambda: second.exports() == [])


async def test_a_report_that_is_lost_is_asked_for_again(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1))
    running = start()
    await until(lambda: running.made == ["uid-1"])
    (job,) = running.batches()
    kubernetes.change("jobs", job, {"status": builders.complete()})
    await until(lambda: running.made == ["uid-1", "uid-1"])
    assert running.exports() == ["e1"]


async def test_what_is_not_found_is_said_and_stays(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1), expired(2, finalizers=[FINALIZER]), expired(3))
    running = start()
    await until(lambda: len(running.made) == 3)
    (job,) = running.batches()
    running.finish(job, missing=("uid-1", "uid-2"))
    await until(lambda: running.exports() == ["e1", "e2"])

    def told(name: str) -> list[tuple[str, str]]:
        status = kubernetes.objects("backupexports")[name]["status"]
        return [(it["type"], it["status"]) for it in status.get("conditions", ())]

    await until(lambda: told("e1") == told("e2") == [("FileMissing", "True")])
    assert {it["reason"] for it in await running.events()} == {"FileMissing"}
    # The administrator's way out.
    kubernetes.delete("backupexports", "e2")
    kubernetes.delete("backupexports", "e1")
    await until(lambda: running.exports() == [])
    notes = [it["note"] for it in await running.events() if it["regarding"]["name"] == "e2"]
    assert len(notes) == 2
    await until(lambda: not kubernetes.objects("jobs"))


async def test_what_is_not_found_is_looked_for_again_when_its_job_has_gone(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1))
    running = start()
    await until(lambda: running.made == ["uid-1"])
    (job,) = running.batches()
    running.finish(job, missing=("uid-1",))
    await until(lambda: "conditions" in kubernetes.objects("backupexports")["e1"]["status"])
    # Its time to live is over.
    kubernetes.remove("jobs", job)
    await until(lambda: running.made == ["uid-1", "uid-1"])
    running.finish(job)
    await until(lambda: running.exports() == [])


async def test_a_file_is_removed_from_the_volume_that_has_it(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    elsewhere = expired(1)
    elsewhere["status"]["artifact"] = builders.ARTIFACT_STATUS | {"claim": "before"}
    kubernetes.seed("backupexports", elsewhere, expired(2))
    running = start()
    await until(lambda: len(running.batches()) == 2)
    volumes = {
        it.batch: it.place.root
        for job in kubernetes.objects("jobs").values()
        if (it := observed_job(job)).place
    }
    assert volumes == {("uid-1",): "before", ("uid-2",): "c"}


async def test_a_volume_that_is_not_there_is_said_and_holds_up_no_other(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    lost = expired(1)
    lost["status"]["artifact"] = builders.ARTIFACT_STATUS | {"claim": "lost"}
    kubernetes.seed("backupexports", lost, expired(2))
    running = start()
    await until(lambda: len(running.batches()) == 2)
    jobs = kubernetes.objects("jobs")
    for name, job in jobs.items():
        if observed_job(job).place == Place("default", "lost"):
            words = 'persistentvolumeclaim "lost" not found'
            scheduled = builders.condition("PodScheduled", "False", "Unschedulable", words)
            pod = builders.pod_manifest(job, "stuck")
            pod |= {"spec": {}, "status": {"phase": "Pending", "conditions": [scheduled]}}
            kubernetes.seed("pods", pod)
        else:
            running.finish(name)
        running.reconciler.ask(name)
    await until(lambda: running.exports() == ["e1"])
    await running.ask()
    (event,) = await running.events()
    assert event["reason"] == "RemovalFailed"
    assert 'from lost: its pod can\'t start: persistentvolumeclaim "lost" not' in event["note"]
    (left,) = running.batches()
    kubernetes.change("jobs", left, {"status": builders.failed("DeadlineExceeded")})
    await running.ask("uid-1")
    assert len(running.made) == 2


async def test_a_batch_that_failed_is_tried_again_in_smaller_ones(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    exports = kubernetes.seed("backupexports", *(expired(number) for number in range(16)))
    uids = [export["metadata"]["uid"] for export in exports]
    job = removal_manifest(
        [BackupExport.model_validate(export) for export in exports], builders.PLACE, DEFAULTS
    )
    long_ago = {"creationTimestamp": builders.ago(301)}
    job |= {"metadata": job["metadata"] | long_ago, "status": builders.failed()}
    kubernetes.seed("jobs", job)
    running = start()
    await until(lambda: len(running.made) == 4)
    assert set(running.made) < set(uids)
    assert len(running.batches()) == 2


async def test_the_removal_of_an_older_operator_is_waited_for(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    """Its runner leaves nothing by which another one could tell that the file was there."""
    exports = kubernetes.seed("backupexports", expired(1), expired(2))
    jobs = [builders.job_manifest(export, TASK_REMOVE) for export in exports]
    kubernetes.seed("jobs", jobs[0], jobs[1] | {"status": builders.complete()})
    running = start()
    await until(lambda: running.exports() == ["e1"])
    await running.ask("uid-1")
    assert running.made == []
    kubernetes.seed("pods", builders.pod_manifest(jobs[0], "r", builders.ended(0, Outcome())))
    running.reconciler.ask("uid-1")
    await until(lambda: running.exports() == [])
    assert running.made == []


async def test_a_job_that_is_refused_holds_up_no_other(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    odd = expired(1)
    odd["status"]["artifact"] = builders.ARTIFACT_STATUS | {"claim": "not a name"}
    kubernetes.seed("backupexports", odd, expired(2))
    kubernetes.faults.append(Fault("create jobs", status=422))
    running = start()
    await until(lambda: len(running.made) == 1)
    await until(lambda: len(kubernetes.objects("events")) == 1)
    (event,) = await running.events()
    assert event["reason"] == "RemovalFailed"


@pytest.mark.parametrize("lost", [{"status": 504}, {"status": 500}, {"is_cut": True}])
async def test_a_batch_whose_answer_is_lost_is_looked_for(
    kubernetes: FakeKubernetes, api_client: client.ApiClient, lost: dict[str, Any]
) -> None:
    """Else its exports would go back in line, and some of them into another batch."""
    kubernetes.faults.append(Fault("create jobs", is_stored=True, **lost))
    jobs = CleanupJobs(Cluster(api_client, NAMESPACE), DEFAULTS)
    exports = [BackupExport.model_validate(expired(number)) for number in (1, 2)]
    assert (await jobs.create_batch(exports, builders.PLACE)).batch == ("uid-1", "uid-2")
    kubernetes.faults.append(Fault("create jobs", **lost))
    with pytest.raises(SERVER_AWAY):
        await jobs.create_batch(exports[1:], builders.PLACE)


async def test_in_a_namespace_that_ends_it_lets_go(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1, finalizers=[FINALIZER, "other/one"]))
    kubernetes.delete("backupexports", "e1")
    kubernetes.end_namespace()
    start()

    def finalizers() -> list[str]:
        found: list[str] = kubernetes.objects("backupexports")["e1"]["metadata"]["finalizers"]
        return found

    await until(lambda: finalizers() == ["other/one"])


@pytest.mark.parametrize("line", [GONE, b'{"type": "ADDED"}\n'], ids=["gone", "no event"])
async def test_a_watch_that_breaks_begins_anew(
    kubernetes: FakeKubernetes, start: Start, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backupexport_operator.kube.finished_exports._PAUSE_SECONDS", 0)

    def lists() -> int:
        return sum(str(call) == "list backupexports" for call in kubernetes.calls)

    running = start()
    await until(lambda: kubernetes.watching("backupexports") == 1)
    assert lists() == 1
    kubernetes.tell_watches("backupexports", line)
    await until(lambda: lists() == 2)
    kubernetes.seed("backupexports", expired(1))
    await until(lambda: running.made == ["uid-1"])


async def test_a_watch_whose_version_is_compacted_begins_anew(
    kubernetes: FakeKubernetes, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut, and by the time it is asked for again its version is too old."""
    monkeypatch.setattr("backupexport_operator.kube.finished_exports._PAUSE_SECONDS", 0)
    held = Fault("watch backupexports", is_held=True)
    kubernetes.faults.append(held)
    running = start()
    await until(lambda: held.met == 1)
    kubernetes.seed("backupexports", expired(1))
    kubernetes.compact()
    held.release()
    await until(lambda: running.made == ["uid-1"])
