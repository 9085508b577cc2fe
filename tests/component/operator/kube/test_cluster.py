"""What the operator writes hits what it has seen, or nothing."""

import asyncio
from typing import Any

import builders
import pytest
from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.runner_protocol import TASK_CHECK
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.observed.jobs_and_pods import observed_job
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from waiting import until

EXPORT, TARGET, JOB = builders.NAME, "t", names.job_name(builders.NAME)


@pytest.fixture
def writer(api_client: client.ApiClient) -> Cluster:
    return Cluster(api_client, NAMESPACE)


def seen_export(kubernetes: FakeKubernetes, **metadata: Any) -> BackupExport:
    """An export as a watch told of it."""
    (stored,) = kubernetes.seed("backupexports", builders.export_manifest(**metadata))
    return BackupExport.model_validate(stored)


def relabel(kubernetes: FakeKubernetes, plural: str, name: str) -> None:
    """Somebody else writes to it, of which the watch has not told yet."""
    kubernetes.change(plural, name, {"metadata": {"labels": {"team": "data"}}})


def replace(kubernetes: FakeKubernetes, plural: str, manifest: dict[str, Any]) -> None:
    """It is deleted, and another one gets its name."""
    name = manifest["metadata"]["name"]
    kubernetes.remove(plural, name)
    kubernetes.seed(plural, {**manifest, "metadata": {**manifest["metadata"], "uid": "another"}})


async def test_a_status_goes_to_the_version_that_was_seen(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    export = seen_export(kubernetes)
    relabel(kubernetes, "backupexports", EXPORT)
    with pytest.raises(ApiException) as refused:
        await writer.patch_export_status(export, {"phase": "Failed"})
    assert refused.value.status == 409
    assert kubernetes.objects("backupexports")[EXPORT]["status"] == {}


async def test_a_status_does_not_go_to_another_of_the_name(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    export = seen_export(kubernetes)
    replace(kubernetes, "backupexports", builders.export_manifest())
    with pytest.raises(ApiException) as refused:
        await writer.patch_export_status(export, {"phase": "Failed"})
    assert refused.value.status == 409
    assert kubernetes.objects("backupexports")[EXPORT]["status"] == {}


async def test_a_status_comes_back_as_it_is_stored(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    export = seen_export(kubernetes)
    first = await writer.patch_export_status(export, {"phase": "Pending", "message": "m"})
    assert first is not None
    second = await writer.patch_export_status(first, {"phase": "Running", "message": None})
    assert second is not None
    assert (second.status.phase, second.status.message) == ("Running", None)
    stored = kubernetes.objects("backupexports")[EXPORT]
    assert second == BackupExport.model_validate(stored)


async def test_a_targets_status_goes_to_the_version_that_was_seen(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    (stored,) = kubernetes.seed("exporttargets", builders.target_manifest())
    relabel(kubernetes, "exporttargets", TARGET)
    target = ExportTarget.model_validate(stored)
    with pytest.raises(ApiException) as refused:
        await writer.patch_target_status(target, {"observedGeneration": 1})
    assert refused.value.status == 409
    assert "status" not in kubernetes.objects("exporttargets")[TARGET]


async def test_finalizers_go_to_the_version_that_was_seen(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    """Else one that somebody has added meanwhile would be gone."""
    export = seen_export(kubernetes)
    others = {"metadata": {"finalizers": ["other/one"]}}
    kubernetes.change("backupexports", EXPORT, others)
    with pytest.raises(ApiException) as refused:
        await writer.patch_finalizers(export, [names.FINALIZER])
    assert refused.value.status == 409
    assert kubernetes.objects("backupexports")[EXPORT]["metadata"]["finalizers"] == ["other/one"]


async def test_finalizers_do_not_go_to_another_of_the_name(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    export = seen_export(kubernetes)
    replace(kubernetes, "backupexports", builders.export_manifest())
    with pytest.raises(ApiException):
        await writer.patch_finalizers(export, [names.FINALIZER])
    assert "finalizers" not in kubernetes.objects("backupexports")[EXPORT]["metadata"]


async def test_an_export_is_deleted_and_no_other_of_its_name(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    export = seen_export(kubernetes)
    replace(kubernetes, "backupexports", builders.export_manifest())
    await writer.delete_export(export)
    stored = kubernetes.objects("backupexports")[EXPORT]
    assert stored["metadata"]["uid"] == "another"
    await writer.delete_export(BackupExport.model_validate(stored))
    assert kubernetes.objects("backupexports") == {}
    await writer.delete_export(export)
    assert [call.status for call in kubernetes.calls] == [409, 200, 404]


async def test_a_job_is_deleted_with_its_pods_and_no_other_of_its_name(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    seen_export(kubernetes)
    manifest = builders.job_manifest(builders.export_manifest())
    (stored,) = kubernetes.seed("jobs", manifest)
    replace(kubernetes, "jobs", manifest)
    await writer.delete_job(observed_job(stored))
    (another,) = kubernetes.objects("jobs").values()
    assert another["metadata"]["uid"] == "another"
    ended = builders.ended(0)
    kubernetes.seed("pods", builders.pod_manifest(another, state=ended))
    await writer.delete_job(observed_job(another))
    assert (kubernetes.objects("jobs"), kubernetes.objects("pods")) == ({}, {})
    await writer.delete_job(observed_job(another))
    assert [call.status for call in kubernetes.calls] == [409, 200, 404]


async def test_before_an_uninstall_only_jobs_go_that_nobody_waits_for(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    seen_export(kubernetes)
    export = builders.export_manifest()
    ended = {"complete": builders.complete(), "failed": builders.failed()}
    for name, status in ended.items():
        kubernetes.seed("jobs", builders.job_manifest(export, status=status, name=name))
    kubernetes.seed("jobs", builders.job_manifest(export, name="runs"))
    kubernetes.seed("jobs", builders.job_manifest(export, TASK_CHECK, name="checks"))
    foreign = builders.job_manifest(export, status=ended["complete"], name="foreign")
    del foreign["metadata"]["labels"][names.LABEL_MANAGED_BY]
    kubernetes.seed("jobs", foreign)

    assert await writer.delete_needless_jobs() == 3
    assert set(kubernetes.objects("jobs")) == {"runs", "foreign"}


async def test_a_job_is_made_once(kubernetes: FakeKubernetes, writer: Cluster) -> None:
    seen_export(kubernetes)
    manifest = builders.job_manifest(builders.export_manifest())
    made = await writer.create_job(manifest)
    assert await writer.create_job(manifest) == made
    assert list(kubernetes.objects("jobs")) == [JOB]
    assert {call.query.get("fieldValidation") for call in kubernetes.calls[:1]} == {"Strict"}


async def test_a_job_whose_name_is_free_again_is_not_called_made(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    """It was in the way, and is gone when it is looked at."""
    seen_export(kubernetes)
    manifest = builders.job_manifest(builders.export_manifest())
    kubernetes.seed("jobs", manifest)
    look = Fault("get jobs", is_held=True)
    kubernetes.faults.append(look)
    asked = asyncio.create_task(writer.create_job(manifest))
    await until(lambda: look.met == 1)
    kubernetes.remove("jobs", JOB)
    look.release()
    with pytest.raises(ApiException) as refused:
        await asked
    assert refused.value.status == 409


async def test_what_is_gone_is_written_to_without_a_complaint(
    kubernetes: FakeKubernetes, writer: Cluster
) -> None:
    export, target = seen_export(kubernetes), builders.target()
    kubernetes.remove("backupexports", EXPORT)
    assert await writer.patch_export_status(export, {"phase": "Failed"}) is None
    assert await writer.patch_finalizers(export, []) is None
    await writer.patch_target_status(target, {"observedGeneration": 1})
    assert [call.status for call in kubernetes.calls] == [404, 404, 404]


@pytest.mark.parametrize("status", [403, 429, 500, 503, 504])
async def test_every_other_refusal_is_an_error(
    kubernetes: FakeKubernetes, writer: Cluster, status: int
) -> None:
    export = seen_export(kubernetes)
    kubernetes.faults.append(Fault(".*", status=status, times=9))
    job = builders.job_manifest(builders.export_manifest())
    for write in (
        writer.patch_export_status(export, {"phase": "Failed"}),
        writer.patch_finalizers(export, []),
        writer.delete_export(export),
        writer.create_job(job),
        writer.delete_job(observed_job(job)),
    ):
        with pytest.raises(ApiException) as refused:
            await write
        assert refused.value.status == status
