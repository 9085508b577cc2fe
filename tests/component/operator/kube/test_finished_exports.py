"""What is watched and held of finished exports, over a Kubernetes API and its watch."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import builders
import pytest
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_operator.kube import client as kube_client
from backupexport_operator.kube.cluster import AWAITING_CLEANUP, Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.kube.finished_exports import FinishedExportReconciler
from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.telemetry.metrics import OperatorMetrics
from builders import Manifest
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import CUT, END, NAMESPACE, FakeKubernetes
from kubernetes.aio import client
from seen_world import live_world
from waiting import until

EXPORTS = "backupexports"
HOUR = 3600.0


class Noted(FinishedExportReconciler):
    """Notes which exports it works on, and which it forgets."""

    awaiting = AWAITING_CLEANUP
    rest_until_they_expire: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.worked_on: list[str] = []
        self.forgotten: list[str] = []

    async def reconcile(self, export: BackupExport) -> None:
        self.worked_on.append(export.metadata.uid)

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)


@pytest.fixture
async def reconciler(
    kubernetes: FakeKubernetes, api_client: client.ApiClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Noted]:
    """At work as soon as a test has started it."""
    monkeypatch.setattr("backupexport_operator.kube.finished_exports._PAUSE_SECONDS", 0)
    monkeypatch.setattr("backupexport_operator.kube.finished_exports._SHORT_PAUSE_SECONDS", 0.01)
    recorder = EventRecorder(api_client, NAMESPACE, "operator-0")
    noted = Noted(
        ExportCache(live_world(kubernetes), 4, None, 2),
        Cluster(api_client, NAMESPACE),
        recorder,
        OperatorMetrics(),
    )
    yield noted
    await noted.queue.stop()
    await recorder.stop()


@pytest.fixture
async def watching(kubernetes: FakeKubernetes, reconciler: Noted) -> AsyncIterator[Noted]:
    """Watches, of nothing so far."""
    task = asyncio.create_task(reconciler.watch_for_ever())
    await until(lambda: kubernetes.watching(EXPORTS) == 1)
    yield reconciler
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def retained(number: int, seconds: float, **metadata: Any) -> Manifest:
    """One that has ended, and expires in so many seconds."""
    status = {
        "phase": "Succeeded",
        "artifact": builders.ARTIFACT_STATUS,
        "expirationTime": builders.ago(-seconds),
        "disposalPending": True,
    }
    return builders.export_manifest(f"e{number}", status=status, uid=f"uid-{number}", **metadata)


def lists(kubernetes: FakeKubernetes) -> int:
    return sum(str(call) == f"list {EXPORTS}" for call in kubernetes.calls)


def watches(kubernetes: FakeKubernetes) -> list[dict[str, str]]:
    return [call.query for call in kubernetes.calls if str(call) == f"watch {EXPORTS}"]


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize("end", [END, CUT], ids=["end", "cut"])
async def test_a_storm_of_other_changes_makes_nobody_list_anew(
    kubernetes: FakeKubernetes, watching: Noted, end: bytes, refusals: int
) -> None:
    """Progress of running exports is not in this watch, but it makes its version old."""
    running = builders.export_manifest("busy", uid="uid-0", status={"phase": "Running"})
    kubernetes.seed(EXPORTS, running)
    for percent in range(100):
        progress = {"status": {"progress": {"percent": percent, "dumpedBytes": 1}}}
        kubernetes.change(EXPORTS, "busy", progress)
    kubernetes.send_bookmarks(EXPORTS)
    kubernetes.seed(EXPORTS, retained(1, -1))
    await until(lambda: watching.worked_on == ["uid-1"])
    kubernetes.change(EXPORTS, "busy", {"status": {"progress": {"percent": 100}}})
    kubernetes.send_bookmarks(EXPORTS)
    version = kubernetes.storage.version
    kubernetes.compact()
    kubernetes.faults.append(Fault(f"watch {EXPORTS}", status=503, times=refusals))
    kubernetes.tell_watches(EXPORTS, end)
    await until(lambda: len(watches(kubernetes)) == 2 + refusals)
    assert watches(kubernetes)[-1]["resourceVersion"] == str(version)
    kubernetes.seed(EXPORTS, retained(2, -1))
    await until(lambda: watching.worked_on[-1] == "uid-2")
    assert lists(kubernetes) == 1


async def test_nothing_is_done_before_an_export_expires(
    kubernetes: FakeKubernetes, reconciler: Noted
) -> None:
    kubernetes.seed(EXPORTS, retained(1, HOUR), retained(2, -1), retained(3, 0.4))
    task = asyncio.create_task(reconciler.watch_for_ever())
    await until(lambda: len(reconciler.worked_on) == 2)
    assert reconciler.worked_on == ["uid-2", "uid-3"]
    expired = reconciler._exports["uid-3"].status.expiration_time
    assert expired is not None
    assert timestamps.from_text(expired) <= timestamps.now()
    assert set(reconciler._exports) == {"uid-1", "uid-2", "uid-3"}
    task.cancel()


async def test_one_that_is_deleted_or_goes_before_it_expires_is_heard_of(
    kubernetes: FakeKubernetes, watching: Noted
) -> None:
    kubernetes.seed(EXPORTS, retained(1, HOUR, finalizers=["other/one"]), retained(2, HOUR))
    await until(lambda: len(watching._exports) == 2)
    kubernetes.delete(EXPORTS, "e1")
    kubernetes.remove(EXPORTS, "e2")
    await until(lambda: watching.worked_on == ["uid-1"] and watching.forgotten == ["uid-2"])
    assert list(watching._exports) == ["uid-1"]


async def test_a_second_list_finds_what_has_changed_and_what_is_gone(
    kubernetes: FakeKubernetes, watching: Noted
) -> None:
    kubernetes.seed(EXPORTS, *(retained(number, HOUR) for number in range(3)))
    await until(lambda: len(watching._exports) == 3)
    held = Fault(f"watch {EXPORTS}", is_held=True)
    kubernetes.faults.append(held)
    kubernetes.tell_watches(EXPORTS, END)
    await until(lambda: held.met == 1)
    kubernetes.remove(EXPORTS, "e0")
    kubernetes.change(EXPORTS, "e1", {"status": {"expirationTime": builders.ago(1)}})
    kubernetes.compact()
    held.release()
    await until(lambda: watching.worked_on == ["uid-1"])
    assert watching.forgotten == ["uid-0"]
    assert sorted(watching._exports) == ["uid-1", "uid-2"]


async def test_lists_come_in_pages(
    kubernetes: FakeKubernetes, reconciler: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_client, "PAGE", 2)
    monkeypatch.setattr("backupexport_operator.kube.cluster.PAGE", 2)
    kubernetes.seed(EXPORTS, *(retained(number, HOUR) for number in range(5)))
    kubernetes.seed(EXPORTS, builders.export_manifest("new", uid="uid-new"))
    job = builders.job_manifest(builders.export_manifest("new", uid="uid-new"))
    made = kubernetes.seed("jobs", job)[0]
    kubernetes.seed("pods", *(builders.pod_manifest(made, f"pod-{n}") for n in range(5)))
    task = asyncio.create_task(reconciler.watch_for_ever())
    await until(lambda: len(reconciler._exports) == 5)
    assert lists(kubernetes) == 3
    snapshot = await reconciler.cluster.snapshot()
    assert len(snapshot.pods["uid-new"]) == 5
    asked = [call.query.get("limit") for call in kubernetes.calls if call.verb == "list"]
    assert set(asked) == {"2"}
    task.cancel()


async def test_an_expiry_that_nobody_can_read_ends_no_watch(
    kubernetes: FakeKubernetes, watching: Noted
) -> None:
    odd = retained(1, HOUR)
    odd["status"]["expirationTime"] = "9999-12-31T23:59:59-14:00"
    kubernetes.seed(EXPORTS, odd, retained(2, -1))
    await until(lambda: watching.worked_on == ["uid-1", "uid-2"])
    assert lists(kubernetes) == 1


async def test_what_only_an_older_schema_allowed_is_left_alone(
    kubernetes: FakeKubernetes, watching: Noted
) -> None:
    odd = retained(1, -1)
    odd["spec"]["format"] = "parchment"
    kubernetes.seed(EXPORTS, odd, retained(2, -1))
    await until(lambda: watching.worked_on == ["uid-2"])
    assert watching.forgotten == ["uid-1"]
