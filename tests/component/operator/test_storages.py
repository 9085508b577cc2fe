"""Exports into buckets, from their creation to the end of their files; the storages' checks."""

import asyncio
import json
from typing import Any

import builders
import pytest
from backupexport_contract import names
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import (
    TASK_CHECK,
    TASK_EXPORT,
    TASK_REMOVE,
    Artifact,
    Outcome,
)
from backupexport_contract.storages import S3Storage, Storage, Storages
from backupexport_operator.settings import Settings
from backupexport_operator.telemetry.metrics import OperatorMetrics
from builders import Manifest
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from fake_kubernetes.storage import Change
from waiting import until
from whole_operator import EXPORTS, whole_operator

BOTH: Storages = {**builders.STORAGES, "bucket": builders.BUCKET}
ROOT = "s3://exports/team"
PATH = "p/20260129T153000Z-uid-1.sql.zst"


def settings(storages: Storages, **more: Any) -> Settings:
    given = {"resync_seconds": 1, "storage_checks": False, **more}
    return Settings(namespace=NAMESPACE, runner_image="i", storages=storages, **given)


class Kubelet:
    """Gives each Job a pod that has ended as `outcomes` has it for the Job's task."""

    def __init__(self, kubernetes: FakeKubernetes) -> None:
        self.kubernetes = kubernetes
        self.outcomes: dict[str, tuple[int, Outcome]] = {
            TASK_EXPORT: (0, Outcome(Artifact(PATH, 1, 2, "ab", "17.5", "17.6"))),
            TASK_REMOVE: (0, Outcome()),
            TASK_CHECK: (0, Outcome(message="It takes files.")),
        }
        self.made: list[Manifest] = []
        kubernetes.listeners.append(self.start)

    def tasks(self) -> list[str]:
        return [job["metadata"]["labels"][names.LABEL_TASK] for job in self.made]

    def start(self, change: Change) -> None:
        if change.kind.plural == "jobs" and change.old is None and change.new is not None:
            self.made.append(change.new)
            asyncio.get_running_loop().call_soon(self._end, change.new)

    def _end(self, job: Manifest) -> None:
        name = job["metadata"]["name"]
        code, outcome = self.outcomes[job["metadata"]["labels"][names.LABEL_TASK]]
        pod = builders.pod_manifest(job, f"{name}-{len(self.made)}", builders.ended(code, outcome))
        self.kubernetes.seed("pods", pod)
        ended = builders.failed("PodFailurePolicy") if code else builders.complete()
        self.kubernetes.change("jobs", name, {"status": ended})


@pytest.fixture
def kubelet(kubernetes: FakeKubernetes) -> Kubelet:
    return Kubelet(kubernetes)


def status_of(kubernetes: FakeKubernetes) -> Manifest:
    return dict(kubernetes.objects(EXPORTS).get(builders.NAME, {}).get("status", {}))


def environment(job: Manifest) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def volumes(job: Manifest) -> dict[str, Manifest]:
    return {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}


async def test_an_export_into_a_bucket_to_the_end_of_its_file(
    kubernetes: FakeKubernetes, kubelet: Kubelet
) -> None:
    kubernetes.seed("exporttargets", builders.target_manifest(storage="bucket"))
    spec = {"retentionSeconds": 1, "artifactPolicy": "Delete"}
    kubernetes.seed(EXPORTS, builders.export_manifest(spec=spec))
    seen: list[Manifest] = []
    kubernetes.listeners.append(lambda change: note(change, seen))
    async with whole_operator(kubernetes, settings(BOTH)):
        await until(lambda: kubernetes.objects(EXPORTS) == {})
    succeeded = next(each for each in seen if each.get("phase") == "Succeeded")
    assert succeeded["storage"] == "bucket"
    artifact = succeeded["artifact"]
    assert (artifact["storage"], artifact["url"]) == ("bucket", f"{ROOT}/{PATH}")
    assert "claim" not in artifact
    assert kubelet.tasks() == [TASK_EXPORT, TASK_REMOVE]
    for job in kubelet.made:
        told = json.loads(environment(job)["EXPORT_STORAGE"])
        assert told == {"name": "bucket", "storage": told["storage"], "hasSecret": True}
        assert told["storage"]["s3"]["bucket"] == "exports"
        assert "secretRef" not in told["storage"]
        assert "exports" not in volumes(job)
        (source,) = volumes(job)["storage"]["projected"]["sources"]
        assert source["secret"]["name"] == "b"
        assert "AWS_SECRET_ACCESS_KEY" in {it["key"] for it in source["secret"]["items"]}
    assert json.loads(environment(kubelet.made[1])["EXPORT_FILES"]) == [PATH]


def note(change: Change, seen: list[Manifest]) -> None:
    if change.kind.plural == EXPORTS and change.new is not None:
        seen.append(change.new.get("status", {}))


async def test_an_export_keeps_the_storage_that_it_was_accepted_for(
    kubernetes: FakeKubernetes, kubelet: Kubelet
) -> None:
    kubernetes.seed("exporttargets", builders.target_manifest(storage="default"))
    export = builders.export_manifest(status={"phase": "Running", "storage": "bucket",
                                              "jobName": "bex-nightly"})  # fmt: skip
    kubernetes.seed(EXPORTS, export)
    job = builders.job_manifest(export, status=builders.complete())
    (stored,) = kubernetes.seed("jobs", job)
    done = builders.ended(0, kubelet.outcomes[TASK_EXPORT][1])
    kubernetes.seed("pods", builders.pod_manifest(stored, state=done))
    async with whole_operator(kubernetes, settings(BOTH)):
        await until(lambda: status_of(kubernetes).get("phase") == "Succeeded")
    assert status_of(kubernetes)["artifact"]["url"] == f"{ROOT}/{PATH}"


async def test_a_storage_that_the_chart_lacks_is_waited_for(
    kubernetes: FakeKubernetes, kubelet: Kubelet
) -> None:
    kubernetes.seed("exporttargets", builders.target_manifest(storage="bucket"))
    kubernetes.seed(EXPORTS, builders.export_manifest())
    async with whole_operator(kubernetes, settings(builders.STORAGES)):
        await until(lambda: status_of(kubernetes).get("reason") == "StorageNotFound")
        await until(lambda: conditions(kubernetes).get("Ready") == ("False", "StorageNotFound"))
    assert status_of(kubernetes)["phase"] == "Pending"
    assert "no storage bucket" in status_of(kubernetes)["message"]
    assert kubelet.made == []
    async with whole_operator(kubernetes, settings(BOTH)):
        await until(lambda: status_of(kubernetes).get("phase") == "Succeeded")


def conditions(kubernetes: FakeKubernetes, target: str = "t") -> dict[str, tuple[str, str]]:
    found = kubernetes.objects("exporttargets")[target].get("status", {}).get("conditions", [])
    return {it["type"]: (it["status"], it["reason"]) for it in found}


def _at(endpoint: str) -> Storage:
    assert builders.BUCKET.s3 is not None
    there = builders.BUCKET.s3.model_copy(update={"endpoint": endpoint})
    return builders.BUCKET.model_copy(update={"s3": there})


# Another bucket has its name now, or it is another server's of that name.
@pytest.mark.parametrize(
    "other",
    [
        builders.BUCKET.model_copy(update={"s3": S3Storage(bucket="another")}),
        _at("https://another.example"),
    ],
    ids=["bucket", "server"],
)
@pytest.mark.parametrize("is_deleted", [False, True], ids=["expired", "deleted"])
async def test_a_file_in_a_bucket_that_is_none_of_the_charts_any_more_is_not_taken_for_removed(
    kubernetes: FakeKubernetes, kubelet: Kubelet, is_deleted: bool, other: Storage
) -> None:
    status = {
        "phase": "Succeeded",
        "artifact": builders.ARTIFACT_STATUS
        | {"path": PATH, "storage": "bucket", "url": f"{ROOT}/{PATH}"},
        "expirationTime": builders.ago(60),
        "disposalPending": True,
    }
    metadata: dict[str, Any] = {"finalizers": [names.FINALIZER]}
    if is_deleted:
        metadata["deletionTimestamp"] = builders.ago(1)
    spec = {"artifactPolicy": "Delete"}
    export = builders.export_manifest(spec=spec, status=status, **metadata)
    kubernetes.seed(EXPORTS, export)
    kubernetes.seed("exporttargets", builders.target_manifest(storage="bucket"))
    async with whole_operator(kubernetes, settings({**builders.STORAGES, "bucket": other})):
        await until(lambda: "RemovalFailed" in reasons(kubernetes))
        await until(lambda: file_missing(kubernetes) == [("Unknown", "StorageNotFound")])
    (event,) = kubernetes.objects("events").values()
    assert f"no storage of the chart is {ROOT}" in event["note"]
    assert list(kubernetes.objects(EXPORTS)) == [builders.NAME]
    assert kubelet.made == []
    # It is back, under whatever name.
    async with whole_operator(
        kubernetes, settings({**builders.STORAGES, "again": builders.BUCKET})
    ):
        await until(lambda: kubernetes.objects(EXPORTS) == {})
    assert kubelet.tasks() == [TASK_REMOVE]


def file_missing(kubernetes: FakeKubernetes) -> list[tuple[str, str]]:
    told = status_of(kubernetes).get("conditions", [])
    return [(it["status"], it["reason"]) for it in told if it["type"] == "FileMissing"]


def reasons(kubernetes: FakeKubernetes) -> set[str]:
    return {event["reason"] for event in kubernetes.objects("events").values()}


def check_of(kubernetes: FakeKubernetes, storage: str) -> Manifest:
    (job,) = (
        job
        for job in kubernetes.objects("jobs").values()
        if job["metadata"]["annotations"].get(names.ANNOTATION_STORAGE) == storage
    )
    return job


def ready(metrics: OperatorMetrics) -> dict[str, float]:
    return {
        sample.labels["storage"]: sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == "backupexport_storage_ready"
    }


async def test_each_storage_is_checked_and_its_targets_say_what_that_found(
    kubernetes: FakeKubernetes, kubelet: Kubelet
) -> None:
    kubernetes.seed(
        "exporttargets",
        builders.target_manifest("p", "t", storage="bucket"),
        builders.target_manifest("q", "u"),
        builders.target_manifest("r", "v", storage="missing"),
    )
    failure = Outcome(message="The bucket can't be written to.")
    kubelet.outcomes[TASK_CHECK] = (ExitCode.STORAGE_UNWRITABLE, failure)
    metrics = OperatorMetrics()
    checking = settings(BOTH, storage_checks=True)
    bad = ("False", "StorageUnwritable")
    async with whole_operator(kubernetes, checking, metrics):
        await until(lambda: conditions(kubernetes).get("StorageReady") == bad)
        await until(lambda: conditions(kubernetes, "u").get("StorageReady") == bad)
        gone = ("False", "StorageNotFound")
        await until(lambda: conditions(kubernetes, "v").get("StorageReady") == gone)
        assert ready(metrics) == {"bucket": 0, "default": 0}
        assert sorted(kubelet.tasks()) == [TASK_CHECK] * 2
        (mount,) = (
            it
            for it in check_of(kubernetes, "default")["spec"]["template"]["spec"]["containers"][0][
                "volumeMounts"
            ]
            if it["name"] == "exports"
        )
        # No project's directory.
        assert mount["subPath"] == ".check"


async def test_a_storage_that_failed_its_check_has_failed_it_when_the_checks_pod_is_gone(
    kubernetes: FakeKubernetes, kubelet: Kubelet
) -> None:
    """As after the deadline of a check that hangs: Kubernetes deletes its pod."""
    kubernetes.seed("exporttargets", builders.target_manifest())
    kubelet.outcomes[TASK_CHECK] = (ExitCode.STORAGE_UNWRITABLE, Outcome(message="No answer."))
    metrics = OperatorMetrics()
    async with whole_operator(
        kubernetes, settings(builders.STORAGES, storage_checks=True), metrics
    ):
        bad = ("False", "StorageUnwritable")
        await until(lambda: conditions(kubernetes).get("StorageReady") == bad)
        for pod in list(kubernetes.objects("pods")):
            kubernetes.remove("pods", pod)
        kubernetes.calls.clear()
        await until(lambda: resyncs(kubernetes) >= 3)
        assert conditions(kubernetes)["StorageReady"] == bad
        assert message(kubernetes) == "No answer."
        assert ready(metrics) == {"default": 0}


@pytest.mark.parametrize(
    ("code", "seconds", "again"),
    [(0, 86300, False), (0, 86401, True), (29, 500, False), (29, 601, True)],
)
async def test_it_is_checked_again_after_a_day_and_ten_minutes_after_a_failure(
    kubernetes: FakeKubernetes, kubelet: Kubelet, code: int, seconds: float, again: bool
) -> None:
    kubernetes.seed("exporttargets", builders.target_manifest())
    checking = settings(builders.STORAGES, storage_checks=True)
    kubelet.outcomes[TASK_CHECK] = (code, Outcome(message="As before."))
    before = ("False", "StorageUnwritable") if code else ("True", "Checked")
    async with whole_operator(kubernetes, checking):
        await until(lambda: conditions(kubernetes).get("StorageReady") == before)
    check = check_of(kubernetes, "default")
    kubernetes.remove("jobs", check["metadata"]["name"])
    kubelet.made.clear()
    kubernetes.calls.clear()
    outcome = builders.ended(code, Outcome(message="As before."))
    aged = {"creationTimestamp": builders.ago(seconds), "uid": "aged"}
    status = builders.failed() if code else builders.complete()
    kubernetes.listeners.remove(kubelet.start)
    (job,) = kubernetes.seed(
        "jobs", check | {"metadata": check["metadata"] | aged, "status": status}
    )
    kubernetes.seed("pods", builders.pod_manifest(job, "aged", outcome))
    kubernetes.listeners.append(kubelet.start)
    kubelet.outcomes[TASK_CHECK] = (0, Outcome(message="It works now."))
    async with whole_operator(kubernetes, checking):
        if again:
            await until(lambda: message(kubernetes) == "It works now.")
        else:
            await until(lambda: resyncs(kubernetes) >= 3)
    assert kubelet.tasks() == ([TASK_CHECK] if again else [])
    if not again:
        assert message(kubernetes) == "As before."


def message(kubernetes: FakeKubernetes) -> str:
    found = kubernetes.objects("exporttargets")["t"]["status"]["conditions"]
    return str(next(it["message"] for it in found if it["type"] == "StorageReady"))


def resyncs(kubernetes: FakeKubernetes) -> int:
    """How many times the targets were listed, but for the first, which is the watch's."""
    return [str(call) for call in kubernetes.calls].count("list exporttargets") - 1


async def test_a_new_leader_believes_the_check_that_is_there_and_other_settings_are_checked_anew(
    kubernetes: FakeKubernetes, kubelet: Kubelet
) -> None:
    kubernetes.seed("exporttargets", builders.target_manifest(storage="bucket"))
    good = ("True", "Checked")
    for _ in range(2):
        async with whole_operator(kubernetes, settings(BOTH, storage_checks=True)):
            await until(lambda: conditions(kubernetes).get("StorageReady") == good)
    assert len(kubelet.made) == 2
    other = builders.BUCKET.model_copy(update={"s3": S3Storage(bucket="another")})
    changed = settings({**builders.STORAGES, "bucket": other}, storage_checks=True)
    kubelet.outcomes[TASK_CHECK] = (ExitCode.STORAGE_UNWRITABLE, Outcome(message="No."))
    async with whole_operator(kubernetes, changed):
        bad = ("False", "StorageUnwritable")
        await until(lambda: conditions(kubernetes).get("StorageReady") == bad)
        # That of the old settings goes.
        await until(lambda: len(kubernetes.objects("jobs")) == 2)
