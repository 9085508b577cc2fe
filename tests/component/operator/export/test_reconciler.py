"""Observe, decide, apply together, over a Kubernetes API that refuses what the real one refuses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import builders
import pytest
from age_keys import AGE
from aiohttp import ClientError
from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.reasons import ExitCode, Phase, Reason
from backupexport_contract.runner_protocol import Outcome, Progress
from backupexport_operator.cleanup.jobs import CleanupJobs
from backupexport_operator.export.attempts import SIDECAR_GRACE
from backupexport_operator.export.reconciler import ExportReconciler
from backupexport_operator.export.start_queue import StartQueue
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.manifests.jobs import job_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.export_cache import ExportCache, World
from backupexport_operator.observed.jobs_and_pods import observed_job, observed_pod
from backupexport_operator.target.reconciler import TargetReconciler
from backupexport_operator.telemetry.metrics import OperatorMetrics
from builders import UID, Manifest
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from seen_world import live_world, picture
from waiting import until

JOB = names.job_name(builders.NAME)
TIDY = f"tidy-{JOB}"
SUCCESS = Outcome(builders.ARTIFACT)
DONE = builders.ended(0, SUCCESS)
KILLED = builders.ended(137)
ON_THE_WAY = {"phase": "Running", "jobName": JOB}
QUOTA = 'jobs.batch "x" is forbidden: exceeded quota: count/jobs.batch'
# Old enough for whoever waits a moment for a target.
OLD = 30


class Followed:
    """Which pods' logs are being followed."""

    def __init__(self) -> None:
        self.pods: dict[str, str] = {}

    def follow(self, uid: str, pod: str, told: object = None) -> None:
        self.pods[uid] = pod

    def forget(self, uid: str) -> None:
        self.pods.pop(uid, None)


class Watched:
    """An operator over the API; `look` is the moment the watches catch up."""

    def __init__(self, kubernetes: FakeKubernetes, api_client: client.ApiClient) -> None:
        self.kubernetes = kubernetes
        self.indexes: dict[str, dict[str, list[Any]]] = {
            "exports": {}, "targets": {}, "jobs": {}, "pods": {},
        }  # fmt: skip
        self.followed = Followed()
        self.writer = Cluster(api_client, NAMESPACE)
        self.recorder = EventRecorder(api_client, NAMESPACE, "operator-0")
        defaults = JobSettings(namespace="n", runner_image="i", storages=builders.STORAGES)
        self.metrics = OperatorMetrics()
        self.cache = ExportCache(
            World(**self.indexes), 4, None, progress_seconds=0.01, storages=builders.STORAGES
        )
        self.reconciler = ExportReconciler(
            self.cache,
            self.writer,
            CleanupJobs(self.writer, defaults),
            self.recorder,
            self.followed,  # type: ignore[arg-type]
            defaults,
            StartQueue(20),
            self.metrics,
        )

    def look(self, *kinds: str) -> None:
        """See everything, or only `kinds`, as it is now."""
        now = live_world(self.kubernetes)
        for kind in kinds or self.indexes:
            self.indexes[kind].clear()
            self.indexes[kind].update(picture(getattr(now, kind)))

    async def run(self) -> None:
        """One reconcile, whatever becomes of it."""
        await self.reconciler._reconcile(UID)

    async def reconcile(self) -> BackupExport:
        """A reconcile, and what it asks for: a status is written in a run after its Job's."""
        await self.run()
        await self.settled()
        return self.export()

    async def settled(self) -> None:
        """When nothing runs or waits to run any more."""
        await until(lambda: not self.reconciler.queue.length)

    def export(self) -> BackupExport:
        """As it is stored."""
        return BackupExport.model_validate(self.kubernetes.objects("backupexports")[builders.NAME])

    def jobs(self) -> list[str]:
        return sorted(self.kubernetes.objects("jobs"))

    def ended(self) -> float:
        """How many exports are counted as finished."""
        name = "backupexport_exports_finished_total"
        return sum(
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name
        )

    def requests(self) -> list[str]:
        """Every request so far, but for Events."""
        return [str(call) for call in self.kubernetes.calls if call.kind.plural != "events"]

    async def events(self) -> list[Manifest]:
        """Every Event that was posted, in order."""
        await self.recorder._waiting.join()
        return sorted(
            self.kubernetes.objects("events").values(), key=lambda it: str(it["eventTime"])
        )

    async def resync(self) -> None:
        self.reconciler.resync(await self.writer.snapshot())
        await self.settled()

    async def stop(self) -> None:
        await self.reconciler.queue.stop()
        await self.recorder.stop()


Make = Callable[..., Watched]


@pytest.fixture
async def watched(kubernetes: FakeKubernetes, api_client: client.ApiClient) -> AsyncIterator[Make]:
    made: list[Watched] = []

    def make(*, job: Manifest | None = None, pod: Manifest | None = None, **status: Any) -> Watched:
        """`job` is the status of the export's Job, where it has one, `pod` its pod's state."""
        export = builders.export_manifest(status=status, creationTimestamp=builders.ago(OLD))
        kubernetes.seed("backupexports", export)
        kubernetes.seed("exporttargets", builders.target_manifest())
        if job is not None:
            (stored,) = kubernetes.seed("jobs", builders.job_manifest(export, status=job))
            if pod is not None:
                kubernetes.seed("pods", builders.pod_manifest(stored, state=pod))
        made.append(Watched(kubernetes, api_client))
        made[-1].look()
        return made[-1]

    yield make
    for operator in made:
        await operator.stop()


def add_pod(operator: Watched, job: str = JOB, name: str = "pod-a", **state: Any) -> None:
    of = operator.kubernetes.objects("jobs")[job]
    operator.kubernetes.seed("pods", builders.pod_manifest(of, name, **state))


def end_pod(operator: Watched, state: Manifest, name: str = "pod-a") -> None:
    operator.kubernetes.change("pods", name, {"status": builders.pod_status(state)})


def lose_job(operator: Watched) -> None:
    """Somebody deletes the Job, and its pod ends."""
    operator.kubernetes.remove("jobs", JOB)
    for pod in operator.kubernetes.objects("pods"):
        operator.kubernetes.remove("pods", pod)


def on_claim(operator: Watched, claim: str, job: str = JOB) -> None:
    """The Job was made while the chart named another claim."""
    volume = {"name": "exports", "persistentVolumeClaim": {"claimName": claim}}
    spec = {"template": {"spec": {"volumes": [volume]}}}
    operator.kubernetes.change("jobs", job, {"spec": spec})
    operator.look()


async def test_a_success_records_the_claim_that_its_job_mounted(watched: Make) -> None:
    operator = watched(job=builders.complete(), pod=DONE, **ON_THE_WAY)
    on_claim(operator, "before")
    artifact = (await operator.reconcile()).status.artifact
    assert artifact is not None
    assert artifact.claim == "before"


async def test_what_an_attempt_left_is_looked_for_on_its_claim(watched: Make) -> None:
    operator = watched(job=builders.failed(), pod=KILLED, **ON_THE_WAY)
    on_claim(operator, "before")
    await operator.reconcile()
    pod = operator.kubernetes.objects("jobs")[TIDY]["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "exports"]
    assert volume["persistentVolumeClaim"] == {"claimName": "before"}


def in_bucket(operator: Watched) -> None:
    """The Job was made while the chart had another storage, a bucket."""
    place = builders.BUCKET_PLACE
    noted = {
        names.ANNOTATION_STORAGE: place.storage,
        names.ANNOTATION_STORAGE_ROOT: place.root,
        names.ANNOTATION_STORAGE_ENDPOINT: "https://minio.example.com",
    }
    operator.kubernetes.change("jobs", JOB, {"metadata": {"annotations": noted}})
    operator.look()


async def test_an_export_ends_though_its_bucket_is_none_of_the_charts_any_more(
    watched: Make,
) -> None:
    operator = watched(job=builders.failed(), pod=KILLED, **ON_THE_WAY)
    in_bucket(operator)
    export = await operator.reconcile()
    # Nobody can look for what the attempt left: the project's next export does.
    assert export.phase == Phase.FAILED
    assert operator.jobs() == [JOB]


async def test_a_success_in_a_bucket_that_is_none_of_the_charts_any_more_is_one(
    watched: Make,
) -> None:
    operator = watched(job=builders.complete(), pod=DONE, **ON_THE_WAY)
    in_bucket(operator)
    artifact = (await operator.reconcile()).status.artifact
    assert artifact is not None
    assert (artifact.storage, artifact.url) == ("bucket", "s3://exports/team/p/f")
    assert artifact.endpoint == "https://minio.example.com"
    assert artifact.claim is None


async def test_a_job_over_which_an_operator_died_tells_what_it_encrypts_to(watched: Make) -> None:
    operator = watched()
    encryption = {"recipients": [AGE]}
    operator.kubernetes.change("exporttargets", "t", {"spec": {"encryption": encryption}})
    operator.look()
    seen = operator.cache.observe(operator.export())
    assert seen.target is not None
    defaults = operator.reconciler.defaults
    made = job_manifest(seen.accepted_export, seen.target, defaults, builders.PLACE)
    await operator.writer.create_job(made)

    operator.kubernetes.change("exporttargets", "t", {"spec": {"encryption": {"recipients": []}}})
    operator.look()
    export = await operator.reconcile()
    assert export.status.target_recipients == [AGE]
    assert export.file_name.endswith(".age")
    add_pod(operator, state=KILLED)
    operator.kubernetes.change("jobs", JOB, {"status": builders.failed()})
    operator.look()
    await operator.reconcile()
    for job in (JOB, TIDY):
        (runner,) = operator.kubernetes.objects("jobs")[job]["spec"]["template"]["spec"][
            "containers"
        ]
        assert {"name": "EXPORT_FILE_NAME", "value": export.file_name} in runner["env"]


async def test_an_encrypted_export_costs_no_other_requests(watched: Make) -> None:
    operator = watched()
    encryption = {"recipients": [AGE]}
    operator.kubernetes.change("exporttargets", "t", {"spec": {"encryption": encryption}})
    operator.look()
    assert (await operator.reconcile()).status.target_recipients == [AGE]
    assert operator.requests() == ["create jobs", "patch backupexports/status"]


async def test_from_creation_to_success_in_few_requests(watched: Make) -> None:
    operator = watched()
    assert (await operator.reconcile()).status.job_name == JOB
    add_pod(operator)
    operator.look()
    assert (await operator.reconcile()).phase == Phase.RUNNING
    assert operator.followed.pods == {UID: "pod-a"}
    end_pod(operator, DONE)
    operator.look()
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED
    assert operator.followed.pods == {}
    assert operator.requests() == ["create jobs", *["patch backupexports/status"] * 3]
    events = await operator.events()
    assert [event["reason"] for event in events] == ["Accepted", "Started", "Completed"]


async def test_a_server_that_nobody_verified_is_told_on_the_export_and_on_its_target(
    watched: Make,
) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    targets = TargetReconciler(
        operator.cache.world.targets, operator.writer, OperatorMetrics(), builders.STORAGES
    )
    await targets._reconcile("p")
    operator.look()
    end_pod(operator, builders.ended(0, replace(SUCCESS, server_verified=False)))
    operator.look()
    export = await operator.reconcile()
    assert export.phase == Phase.SUCCEEDED
    told = {condition.type: condition.status for condition in export.status.conditions}
    assert (told["Complete"], told["ServerVerified"]) == ("True", "False")
    events = [event for event in await operator.events() if event["type"] == "Warning"]
    assert [event["reason"] for event in events] == ["ServerNotVerified"]
    operator.look("targets")
    await targets._reconcile("p")
    conditions = operator.kubernetes.objects("exporttargets")["t"]["status"]["conditions"]
    assert {c["type"]: c["status"] for c in conditions} == {
        "Ready": "True",
        "ServerVerified": "False",
    }


async def test_reconciling_twice_changes_nothing(watched: Make) -> None:
    operator = watched()
    await operator.reconcile()
    operator.look()
    before = operator.requests()
    await operator.reconcile()
    assert operator.requests() == before


async def test_what_was_written_counts_before_the_watch_brings_it_back(watched: Make) -> None:
    operator = watched()
    await operator.reconcile()
    operator.look("jobs")
    before = operator.requests()
    await operator.reconcile()
    assert operator.requests() == before


async def test_a_job_that_the_watch_has_not_told_yet_is_not_called_deleted(watched: Make) -> None:
    operator = watched()
    await operator.reconcile()
    assert (await operator.reconcile()).phase == Phase.PENDING
    assert operator.requests() == ["create jobs", "patch backupexports/status"]


async def test_a_job_that_a_new_process_has_not_been_told_of_is_not_called_deleted(
    watched: Make,
) -> None:
    operator = watched(job={}, phase="Pending", jobName=JOB)
    operator.indexes["jobs"].clear()
    assert (await operator.reconcile()).status.reason is None
    assert "list jobs" in operator.requests()


async def test_a_jobs_end_seen_before_its_pods_is_no_failure(watched: Make) -> None:
    operator = watched(job=builders.complete(), pod=builders.running(), **ON_THE_WAY)
    end_pod(operator, DONE)
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED


async def test_a_failures_reason_is_the_pods_even_where_the_job_is_seen_first(
    watched: Make,
) -> None:
    operator = watched(
        job=builders.failed("PodFailurePolicy"), pod=builders.running(), **ON_THE_WAY
    )
    said = Outcome(message="Correct the password.")
    end_pod(operator, builders.ended(ExitCode.AUTHENTICATION_FAILED, said))
    status = (await operator.reconcile()).status
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.AUTHENTICATION_FAILED)
    assert status.message == "Correct the password."


def end_beside_a_sidecar(operator: Watched, state: Manifest) -> None:
    """The runner has ended, and another container of its pod has not."""
    status = builders.pod_status(state) | {"phase": "Running"}
    status["containerStatuses"].append({"name": "proxy", "state": builders.running()})
    state["terminated"]["finishedAt"] = builders.ago(SIDECAR_GRACE.total_seconds() + 1)
    operator.kubernetes.change("pods", "pod-a", {"status": status})
    operator.look()


async def test_a_failed_attempts_pod_that_a_sidecar_keeps_is_deleted_after_the_status_tells(
    watched: Make,
) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    said = Outcome(message="Start the server.")
    end_beside_a_sidecar(operator, builders.ended(ExitCode.CONNECTION_FAILED, said))
    status = (await operator.reconcile()).status
    assert (status.phase, status.reason) == (Phase.RUNNING, Reason.CONNECTION_FAILED)
    assert "container proxy doesn't end" in str(status.message)
    assert operator.requests() == ["patch backupexports/status", "delete pods"]
    assert "deletionTimestamp" in operator.kubernetes.objects("pods")["pod-a"]["metadata"]
    operator.look()
    await operator.reconcile()
    assert operator.requests().count("delete pods") == 1
    # It is gone from the API server before the watch tells.
    operator.kubernetes.remove("pods", "pod-a")
    await operator.writer.delete_pod("pod-a")
    operator.kubernetes.faults.append(Fault("delete pods", status=403))
    with pytest.raises(ApiException) as refused:
        await operator.writer.delete_pod("pod-a")
    assert refused.value.status == 403


async def test_a_finished_exports_job_that_a_sidecar_keeps_goes_once_the_status_tells(
    watched: Make,
) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    end_beside_a_sidecar(operator, builders.ended(0, SUCCESS))
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED
    assert operator.requests() == ["patch backupexports/status", "delete jobs"]
    assert operator.jobs() == []


async def test_a_job_that_was_made_before_a_crash_is_found_again(watched: Make) -> None:
    operator = watched(job={})
    operator.indexes["jobs"].clear()
    assert (await operator.reconcile()).status.job_name == JOB
    assert operator.jobs() == [JOB]


async def test_a_job_that_was_made_though_the_answer_was_lost_is_found_again(
    watched: Make,
) -> None:
    """The API server has stored it and answers 504."""
    operator = watched()
    operator.kubernetes.faults.append(Fault("create jobs", status=504, is_stored=True))
    with pytest.raises(ApiException):
        await operator.run()
    assert operator.jobs() == [JOB]
    assert (await operator.reconcile()).status.job_name == JOB
    assert operator.jobs() == [JOB]


@pytest.mark.parametrize("lost", [{"status": 504}, {"status": 500}, {"is_cut": True}])
async def test_a_status_that_was_written_though_the_answer_was_lost_is_not_written_twice(
    watched: Make, lost: Manifest
) -> None:
    """And it is told of, as if the answer had come: the Event, and the number of the export."""
    operator = watched(job=builders.complete(), pod=DONE, **ON_THE_WAY)
    fault = Fault("patch backupexports/status", is_stored=True, **lost)
    operator.kubernetes.faults.append(fault)
    await operator.run()
    assert operator.requests() == ["patch backupexports/status", "get backupexports"]
    assert operator.export().phase == Phase.SUCCEEDED
    operator.look()
    before = operator.requests()
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED
    assert operator.requests() == before
    assert [event["reason"] for event in await operator.events()] == ["Completed"]
    assert operator.ended() == 1


async def test_a_status_of_which_nobody_knows_is_not_written_twice(watched: Make) -> None:
    """The API server stores it, says nothing, and can't be read either."""
    operator = watched(job={}, pod=builders.running(), phase="Pending", jobName=JOB)
    operator.kubernetes.faults += [
        Fault("patch backupexports/status", status=504, is_stored=True),
        Fault("get backupexports", status=503),
    ]
    with pytest.raises(ApiException) as unknown:
        await operator.run()
    assert unknown.value.status == 504
    # Decided on what is no more: the API server refuses it, whatever it says.
    with pytest.raises(ApiException) as refused:
        await operator.run()
    assert refused.value.status == 409
    operator.look()
    before = operator.requests()
    assert (await operator.reconcile()).phase == Phase.RUNNING
    assert operator.requests() == before


@pytest.mark.parametrize("status", [429, 503])
async def test_no_try_comes_sooner_than_the_api_server_asks_for(watched: Make, status: int) -> None:
    operator = watched()
    operator.kubernetes.faults.append(Fault(".*", status=status, retry_after=1))
    tried = time.monotonic()
    operator.reconciler.queue.ask(UID)
    await until(lambda: len(operator.requests()) == 1)
    while len(operator.requests()) == 1:
        operator.reconciler.queue.ask(UID)
        await asyncio.sleep(0.01)
    assert time.monotonic() - tried >= 1
    await until(lambda: operator.jobs() == [JOB])


OTHER = "younger"
LOST: dict[str, Manifest] = {
    "500": {"status": 500, "is_stored": True},
    "503": {"status": 503, "is_stored": True, "retry_after": 1},
    "504": {"status": 504, "is_stored": True},
    "cut": {"is_cut": True, "is_stored": True},
    "silence": {"is_held": True, "is_stored": True},
}


def add_younger(operator: Watched) -> None:
    """A second export of the project, which may run one at once."""
    younger = builders.export_manifest(OTHER, uid="uid-2", creationTimestamp=builders.ago(1))
    operator.kubernetes.seed("backupexports", younger)
    operator.look("exports")


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough for what is answered, and for what isn't to reach the API server.
    monkeypatch.setattr("backupexport_operator.kube.client.REQUEST_TIMEOUT", 2)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_nobody_else_starts_while_a_job_may_have_been_made(
    watched: Make, lost: Manifest
) -> None:
    """Its create is carried out, not answered, and its Job can't be read at first, either."""
    operator = watched()
    add_younger(operator)
    unreadable = Fault("get jobs", status=503, times=2)
    operator.kubernetes.faults += [Fault("create jobs", **lost), unreadable]
    for _ in range(3):
        with pytest.raises((ApiException, ClientError, TimeoutError)):
            await operator.run()
        await operator.reconciler._reconcile("uid-2")
    assert unreadable.met == 2
    assert operator.jobs() == [JOB]
    assert operator.requests().count("create jobs") == 1
    assert (await operator.reconcile()).status.job_name == JOB
    await operator.reconciler._reconcile("uid-2")
    assert operator.jobs() == [JOB]
    assert operator.requests().count("create jobs") == 1


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_a_job_that_was_not_made_is_made_once_that_is_known(
    watched: Make, lost: Manifest
) -> None:
    operator = watched()
    operator.kubernetes.faults.append(Fault("create jobs", **{**lost, "is_stored": False}))
    with pytest.raises((ApiException, ClientError, TimeoutError)):
        await operator.run()
    assert operator.jobs() == []
    assert (await operator.reconcile()).status.job_name == JOB
    assert operator.requests()[:3] == ["create jobs", "get jobs", "create jobs"]


async def test_a_namesakes_job_is_not_taken_for_the_one_that_may_have_been_made(
    watched: Make,
) -> None:
    operator = watched()
    operator.kubernetes.faults.append(Fault("create jobs", status=504))
    with pytest.raises(ApiException):
        await operator.run()
    before = builders.export_manifest(uid="uid-0")
    going: Manifest = {"deletionTimestamp": builders.ago(1), "finalizers": ["foregroundDeletion"]}
    operator.kubernetes.seed("jobs", builders.job_manifest(before, **going))
    assert (await operator.reconcile()).status.job_name is None


async def test_what_is_gone_keeps_no_slot_for_a_job_that_may_have_been_made(
    watched: Make,
) -> None:
    operator = watched()
    add_younger(operator)
    operator.kubernetes.faults.append(Fault("create jobs", status=504, is_stored=True))
    with pytest.raises(ApiException):
        await operator.run()
    gone = operator.export()
    operator.kubernetes.remove("backupexports", builders.NAME)
    operator.look()
    operator.reconciler.departed(gone)
    await operator.settled()
    await until(lambda: operator.jobs() == [names.job_name(OTHER)])


async def test_a_decision_that_comes_late_does_not_hit_a_changed_export(watched: Make) -> None:
    """Somebody has cancelled it meanwhile, of which the watch has not told yet."""
    operator = watched(job={}, pod=DONE, **ON_THE_WAY)
    operator.kubernetes.change("backupexports", builders.NAME, {"spec": {"cancel": True}})
    with pytest.raises(ApiException) as refused:
        await operator.run()
    assert refused.value.status == 409
    assert operator.export().phase == Phase.RUNNING


async def test_a_decision_that_comes_late_does_not_hit_another_of_its_name(watched: Make) -> None:
    operator = watched(job={}, pod=DONE, **ON_THE_WAY)
    operator.kubernetes.remove("backupexports", builders.NAME)
    operator.kubernetes.seed("backupexports", builders.export_manifest(uid="uid-2"))
    with pytest.raises(ApiException) as refused:
        await operator.run()
    assert refused.value.status == 409
    assert operator.export().status.phase is None


async def test_a_refused_job_says_so_and_is_tried_again(watched: Make) -> None:
    operator = watched()
    operator.kubernetes.faults.append(Fault("create jobs", status=403, message=QUOTA))
    with pytest.raises(ApiException):
        await operator.run()
    status = operator.export().status
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.INTERNAL)
    operator.look()
    assert (await operator.reconcile()).status.reason is None


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_has_no_time_changes_nothing(watched: Make, status: int) -> None:
    operator = watched()
    operator.kubernetes.faults.append(Fault("create jobs", status=status, retry_after=1))
    with pytest.raises(ApiException):
        await operator.run()
    assert operator.requests() == ["create jobs"]
    assert operator.export().status.phase is None
    assert (await operator.reconcile()).status.job_name == JOB


async def test_the_job_of_a_namesake_that_was_deleted_is_waited_for(watched: Make) -> None:
    operator = watched()
    before = builders.export_manifest(uid="uid-0")
    going: Manifest = {"deletionTimestamp": builders.ago(1), "finalizers": ["foregroundDeletion"]}
    operator.kubernetes.seed("jobs", builders.job_manifest(before, **going))
    status = (await operator.reconcile()).status
    assert (status.phase, status.job_name) == (Phase.PENDING, None)
    assert (await operator.events())[0]["type"] == "Warning"
    operator.kubernetes.remove("jobs", JOB)
    operator.look("exports")
    assert (await operator.reconcile()).status.job_name == JOB


async def test_a_target_that_the_watch_has_not_told_yet_is_found(watched: Make) -> None:
    operator = watched()
    operator.indexes["targets"].clear()
    assert (await operator.reconcile()).phase == Phase.PENDING
    assert "list exporttargets" in operator.requests()


async def test_the_resync_finds_what_a_watch_has_missed(watched: Make) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    lose_job(operator)
    await operator.resync()
    assert operator.export().status.reason == Reason.JOB_DELETED


async def test_the_resync_finds_that_an_export_is_gone(watched: Make) -> None:
    operator = watched()
    operator.kubernetes.remove("backupexports", builders.NAME)
    await operator.resync()
    await operator.run()
    before = operator.requests()
    await operator.run()
    assert operator.requests() == before
    assert "create jobs" not in before


async def test_progress_reaches_the_status(watched: Make) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    operator.cache.note_progress(UID, Progress(42, 42, 100))
    progress = (await operator.reconcile()).status.progress
    assert progress is not None
    assert progress.percent == 42


async def test_an_export_that_is_gone_is_forgotten(watched: Make) -> None:
    operator = watched()
    operator.indexes["exports"].clear()
    operator.followed.follow(UID, "pod-a")
    await operator.run()
    assert operator.requests() == []
    assert operator.followed.pods == {}


async def test_a_targets_condition_is_written_once(watched: Make) -> None:
    operator = watched()
    targets = TargetReconciler(
        operator.cache.world.targets, operator.writer, OperatorMetrics(), builders.STORAGES
    )
    await targets._reconcile("p")
    (condition,) = operator.kubernetes.objects("exporttargets")["t"]["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Ready", "Serving")
    operator.look("targets")
    await targets._reconcile("p")
    assert operator.requests() == ["patch exporttargets/status"]


async def test_a_verdict_waits_for_the_cleanup_of_what_was_killed(watched: Make) -> None:
    operator = watched(job=builders.failed(), pod=KILLED, **ON_THE_WAY)
    assert (await operator.reconcile()).phase == Phase.RUNNING
    assert TIDY in operator.jobs()
    operator.kubernetes.change("jobs", TIDY, {"status": builders.complete()})
    add_pod(operator, TIDY, "tidier", state=builders.ended(0, Outcome()))
    operator.look()
    status = (await operator.reconcile()).status
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.INTERNAL)


async def test_a_cleanup_that_is_refused_does_not_keep_the_verdict(watched: Make) -> None:
    operator = watched(job=builders.failed(), pod=KILLED, **ON_THE_WAY)
    operator.kubernetes.faults.append(Fault("create jobs", status=403, message=QUOTA))
    with pytest.raises(ApiException):
        await operator.run()
    assert operator.export().phase == Phase.RUNNING, "a quota may pass"
    operator.kubernetes.faults.append(Fault("create jobs", status=422, times=9))
    assert (await operator.reconcile()).phase == Phase.FAILED


async def test_a_copy_of_the_job_with_all_its_labels_is_not_taken_for_it(watched: Make) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    export = operator.kubernetes.objects("backupexports")[builders.NAME]
    copy = builders.job_manifest(export, name="a-copy", uid="copy", ownerReferences=[])
    operator.kubernetes.seed("jobs", copy)
    add_pod(operator, "a-copy", "a-copy-1", state=builders.ended(29))
    operator.look()
    assert (await operator.reconcile()).phase == Phase.RUNNING


async def test_a_pod_that_lost_its_job_is_stopped_and_no_other_export_begins_beside_it(
    watched: Make,
) -> None:
    operator = watched(job={}, **ON_THE_WAY)
    orphaned = {"labels": {"batch.kubernetes.io/job-name": JOB}, "ownerReferences": []}
    add_pod(operator, state=builders.running())
    labels = operator.kubernetes.objects("pods")["pod-a"]["metadata"]["labels"]
    orphaned["labels"] |= labels
    operator.kubernetes.storage.collects_garbage = False
    operator.kubernetes.remove("jobs", JOB)
    operator.kubernetes.change("pods", "pod-a", {"metadata": orphaned})
    other = builders.export_manifest("other", uid="uid-2", creationTimestamp=builders.ago(OLD))
    operator.kubernetes.seed("backupexports", other)
    operator.look()
    await operator.run()
    operator.reconciler.queue.ask("uid-2")
    await operator.settled()
    assert "delete pods" in operator.requests()
    assert operator.export().phase == Phase.RUNNING
    assert "bex-other" not in operator.jobs()


async def test_a_running_export_that_is_deleted_leaves_no_partial_file(watched: Make) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    kubernetes, deleted = operator.kubernetes, operator.export()
    kubernetes.storage.collects_garbage = False
    kubernetes.remove("backupexports", builders.NAME)
    operator.look("exports")
    operator.reconciler.departed(deleted)
    await operator.settled()
    assert operator.jobs() == [JOB], "its Job is still being deleted"
    job, pod = kubernetes.objects("jobs")[JOB], kubernetes.objects("pods")["pod-a"]
    lose_job(operator)
    operator.look()
    operator.cache.note_lost_job(UID, observed_job(job))
    operator.cache.note_lost_pod(UID, observed_pod(pod))
    kubernetes.faults.append(Fault("create jobs", status=503))
    with pytest.raises(ApiException):
        await operator.run()
    kubernetes.storage.collects_garbage = True
    await operator.run()
    assert operator.jobs() == [TIDY]


async def test_the_cleanup_of_a_namesake_is_not_taken_for_ones_own(watched: Make) -> None:
    operator = watched(job=builders.failed(), pod=KILLED, **ON_THE_WAY)
    before = builders.export_manifest(uid="uid-0")
    other = builders.job_manifest(before, "tidy", ownerReferences=[])
    operator.kubernetes.seed("jobs", other)
    with pytest.raises(ApiException):
        await operator.run()
    kept = operator.kubernetes.objects("jobs")[TIDY]
    assert (kept["metadata"]["uid"], kept["status"]) == ("tidy-of-uid-0", {}), "it still works"
    operator.kubernetes.change("jobs", TIDY, {"status": builders.complete()})
    with pytest.raises(ApiException):
        await operator.run()
    assert (await operator.reconcile()).phase == Phase.RUNNING
    assert observed_job(operator.kubernetes.objects("jobs")[TIDY]).export_uid == UID


async def test_an_export_that_has_ended_is_not_taken_for_a_deleted_one(watched: Make) -> None:
    operator = watched(job={}, pod=DONE, **ON_THE_WAY)
    before = operator.export()
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED
    requests = operator.requests()
    operator.look("exports")
    operator.reconciler.departed(before)
    await operator.settled()
    assert operator.requests() == requests


async def test_an_export_that_no_watch_told_of_is_found_by_the_resync(watched: Make) -> None:
    operator = watched()
    operator.indexes["exports"].clear()
    await operator.resync()
    assert operator.export().status.job_name == JOB


async def test_the_resync_reads_nothing_afresh_where_the_watches_agree(watched: Make) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    await operator.resync()
    assert "get backupexports" not in operator.requests()


async def test_a_file_that_is_to_go_with_its_export_holds_it_before_its_job_is_made(
    watched: Make,
) -> None:
    operator = watched()
    delete = {"spec": {"artifactPolicy": "Delete"}}
    operator.kubernetes.change("backupexports", builders.NAME, delete)
    operator.look()
    stored = await operator.reconcile()
    assert stored.metadata.finalizers == ["backupexport.dev/artifact"]
    assert operator.requests() == [
        "patch backupexports",
        "create jobs",
        "patch backupexports/status",
    ]


async def test_progress_is_written_at_most_once_in_its_time(watched: Make) -> None:
    operator = watched(job={}, pod=builders.running(), **ON_THE_WAY)
    operator.cache.progress_seconds = 3600
    operator.cache.note_progress(UID, Progress(1, 1, 100))
    await operator.reconcile()
    operator.look()
    delay = operator.cache.note_progress(UID, Progress(2, 2, 100))
    assert delay is not None
    assert delay > 3500
    before = operator.requests()
    await operator.reconcile()
    assert operator.requests() == before
    assert operator.cache.note_progress(UID, Progress(2, 2, 100)) is None


async def test_a_restarted_operator_counts_who_runs_before_it_lets_anyone_in(
    watched: Make,
) -> None:
    """Of two exports of one project, one with a Job; the other is asked for first."""
    operator = watched(job={})
    running = {"jobName": "bex-other", "phase": "Running"}
    other = builders.export_manifest("other", status=running, uid="uid-2")
    operator.kubernetes.seed("backupexports", other)
    operator.look("exports")
    operator.indexes["jobs"].clear()
    status = (await operator.reconcile()).status
    assert status.job_name is None
    assert "Waiting for its turn" in (status.message or "")


async def test_what_anothers_finalizer_holds_needs_no_slot(watched: Make) -> None:
    operator = watched()
    running = {"jobName": "bex-other", "phase": "Running"}
    going: Manifest = {"deletionTimestamp": builders.ago(OLD), "finalizers": ["other/one"]}
    other = builders.export_manifest("other", status=running, uid="uid-2", **going)
    operator.kubernetes.seed("backupexports", other)
    operator.look("exports")
    assert (await operator.reconcile()).status.job_name == JOB


@pytest.mark.parametrize("overdue", [False, True])
async def test_an_export_on_a_silent_node_says_so_and_keeps_no_other_waiting(
    watched: Make, overdue: bool
) -> None:
    operator = watched(job={}, **ON_THE_WAY)
    tracking = ["batch.kubernetes.io/job-tracking"]
    going = builders.ago(3600 if overdue else 5)
    add_pod(operator, state=builders.running(), deletionTimestamp=going, finalizers=tracking)
    other = builders.export_manifest("other", uid="uid-2", creationTimestamp=builders.ago(OLD))
    operator.kubernetes.seed("backupexports", other)
    operator.look()
    status = (await operator.reconcile()).status
    assert (status.phase, "doesn't answer" in (status.message or "")) == (Phase.RUNNING, overdue)
    operator.reconciler.queue.ask("uid-2")
    await operator.settled()
    assert ("bex-other" in operator.jobs()) == overdue
    # The node is back, and its pod has reported.
    end_pod(operator, DONE)
    operator.look("pods")
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED


async def test_a_refusal_says_what_the_api_server_said(watched: Make) -> None:
    operator = watched()
    operator.kubernetes.faults.append(Fault("create jobs", status=403, message=QUOTA))
    with pytest.raises(ApiException):
        await operator.run()
    assert "exceeded quota: count/jobs.batch" in (operator.export().status.message or "")


async def test_a_job_whose_coming_and_going_no_watch_told_of_is_missed(watched: Make) -> None:
    operator = watched()
    await operator.reconcile()
    lose_job(operator)
    await operator.resync()
    assert operator.export().status.reason == Reason.JOB_DELETED


FULL = {"sizeBytes": 600} | {
    key: value for key, value in builders.ARTIFACT_STATUS.items() if key != "sizeBytes"
}


def store(kubernetes: FakeKubernetes, name: str, project_id: str = "p", **status: Any) -> None:
    """An export that has ended with a file of 600 bytes."""
    told = {"phase": "Succeeded", "artifact": FULL} | status
    export = builders.export_manifest(name, {"projectId": project_id}, told, uid=name)
    kubernetes.seed("backupexports", export)


@pytest.mark.parametrize("limit", ["the target's", "the chart's"])
async def test_a_project_without_room_waits_and_starts_by_itself_when_there_is_some(
    watched: Make, kubernetes: FakeKubernetes, limit: str
) -> None:
    operator = watched()
    store(kubernetes, "old")
    store(kubernetes, "older")
    store(kubernetes, "without-a-file", phase="Failed", artifact=None)
    store(kubernetes, "another-project's", "q")
    if limit == "the chart's":
        operator.cache.max_stored_bytes = 1000
    else:
        operator.cache.max_stored_bytes = 10_000
        kubernetes.change("exporttargets", "t", {"spec": {"maxStoredBytes": 1000}})
    operator.look()
    export = await operator.reconcile()
    assert (export.phase, export.status.reason) == (Phase.PENDING, Reason.STORAGE_FULL)
    assert "1.2 KiB of maxStoredBytes, 1000 B" in (export.status.message or "")
    # It holds no place in the queue, which others could have.
    assert operator.reconciler.start_queue.waiting == 0
    lists = operator.requests().count("list backupexports")
    await operator.reconcile()
    assert operator.requests().count("list backupexports") == lists
    assert operator.jobs() == []
    kubernetes.remove("backupexports", "older")
    operator.reconciler._stored.forget("p")
    assert (await operator.reconcile()).status.job_name == JOB
    (job,) = kubernetes.objects("jobs").values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "EXPORT_ROOM_BYTES", "value": "400"} in container["env"]
    assert {"name": "EXPORT_MAX_STORED_BYTES", "value": "1000"} in container["env"]


async def test_the_file_of_an_export_that_has_just_ended_counts(
    watched: Make, kubernetes: FakeKubernetes
) -> None:
    operator = watched(**ON_THE_WAY, job={}, pod=DONE)
    kubernetes.change("exporttargets", "t", {"spec": {"maxStoredBytes": 1}})
    following = builders.export_manifest("following", uid="uid-2")
    kubernetes.seed("backupexports", following)
    operator.look()
    assert await operator.reconciler._stored.of("p") == 0
    await operator.reconcile()
    assert await operator.reconciler._stored.of("p") == builders.ARTIFACT.size_bytes
    await operator.reconciler._reconcile("uid-2")
    status = kubernetes.objects("backupexports")["following"]["status"]
    assert (status["phase"], status["reason"]) == ("Pending", "StorageFull")


async def test_nobody_counts_files_where_there_is_no_limit(watched: Make) -> None:
    operator = watched()
    await operator.reconcile()
    assert "list backupexports" not in operator.requests()


async def test_a_namespace_that_ends_is_not_held_by_a_cleanup_that_nobody_may_make(
    watched: Make,
) -> None:
    operator = watched(job=builders.failed(), pod=KILLED, **ON_THE_WAY)
    kubernetes = operator.kubernetes
    kubernetes.change(
        "backupexports", builders.NAME,
        {"metadata": {"finalizers": [names.FINALIZER, "other/one"]}},
    )  # fmt: skip
    kubernetes.delete("backupexports", builders.NAME)
    kubernetes.end_namespace()
    lose_job(operator)
    operator.look()
    await operator.reconcile()
    assert operator.export().metadata.finalizers == ["other/one"]


async def test_a_deleted_export_waits_for_a_cleanup_that_is_refused(watched: Make) -> None:
    operator = watched(job=builders.failed(), pod=KILLED, **ON_THE_WAY)
    kubernetes = operator.kubernetes
    kubernetes.change(
        "backupexports", builders.NAME, {"metadata": {"finalizers": [names.FINALIZER]}}
    )
    kubernetes.delete("backupexports", builders.NAME)
    lose_job(operator)
    operator.look()
    kubernetes.faults.append(Fault("create jobs", status=422, times=9))
    await operator.reconcile()
    assert operator.export().metadata.finalizers == [names.FINALIZER]
    kubernetes.faults.clear()
    await operator.reconcile()
    assert operator.jobs() == [TIDY]
