"""Events that repeat are counted, with few requests and none before each."""

from collections.abc import AsyncIterator
from typing import Any

import builders
import pytest
from backupexport_operator.kube import event_recorder
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.manifests.events import ExportEvent
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from kubernetes.aio import client

FULL = ExportEvent("Warning", "StorageFull", "The volume is full.")
OTHER = ExportEvent("Normal", "Started", "The runner has started.")


class Recording:
    """A recorder, and what it has asked for."""

    def __init__(self, kubernetes: FakeKubernetes, api_client: client.ApiClient) -> None:
        self._kubernetes = kubernetes
        self._api_client = api_client
        self.recorder = EventRecorder(api_client, NAMESPACE, "operator-0")

    async def record(self, *events: ExportEvent) -> None:
        for event in events:
            self.recorder.record(builders.export(), event)
            await self.recorder._waiting.join()

    async def restart(self) -> None:
        """Another process goes on, which remembers nothing."""
        await self.recorder.stop()
        self.recorder = EventRecorder(self._api_client, NAMESPACE, "operator-1")

    def count(self, request: str) -> int:
        return sum(str(call) == request for call in self._kubernetes.calls)

    @property
    def stored(self) -> dict[str, Any]:
        return {event["reason"]: event for event in self._kubernetes.objects("events").values()}


@pytest.fixture
async def recording(
    kubernetes: FakeKubernetes, api_client: client.ApiClient
) -> AsyncIterator[Recording]:
    made = Recording(kubernetes, api_client)
    yield made
    await made.recorder.stop()


@pytest.fixture
def in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any repeat is late enough for its own patch."""
    monkeypatch.setattr(event_recorder, "SERIES_SECONDS", 0.0)


async def test_an_event_that_happens_once_has_no_series(recording: Recording) -> None:
    await recording.record(FULL, OTHER)
    assert [event.get("series") for event in recording.stored.values()] == [None, None]
    assert {event["reportingInstance"] for event in recording.stored.values()} == {"operator-0"}
    assert {event["reportingController"] for event in recording.stored.values()} == {
        "backupexport-operator"
    }


@pytest.mark.usefixtures("in_time")
async def test_a_repeat_is_counted_without_a_read(recording: Recording) -> None:
    await recording.record(FULL, OTHER, FULL, FULL)
    first = recording.stored["StorageFull"]
    assert first["series"]["count"] == 3
    assert first["series"]["lastObservedTime"] > first["eventTime"]
    assert "series" not in recording.stored["Started"]
    counts = {what: recording.count(f"{what} events") for what in ("create", "patch", "list")}
    assert counts == {"create": 2, "patch": 2, "list": 0}


async def test_repeats_soon_after_each_other_cost_one_request(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    await recording.record(*[FULL] * 50)
    assert (recording.count("create events"), recording.count("patch events")) == (1, 1)
    assert recording.stored["StorageFull"]["series"]["count"] == 2
    monkeypatch.setattr(event_recorder, "SERIES_SECONDS", 0.0)
    await recording.record(FULL)
    assert recording.stored["StorageFull"]["series"]["count"] == 51


@pytest.mark.usefixtures("in_time")
async def test_another_process_goes_on_counting(recording: Recording) -> None:
    await recording.record(FULL, FULL)
    await recording.restart()
    await recording.record(FULL, FULL)
    assert recording.stored["StorageFull"]["series"]["count"] == 4
    assert recording.count("list events") == 1


@pytest.mark.usefixtures("in_time")
async def test_what_kubernetes_has_forgotten_is_posted_anew(
    recording: Recording, kubernetes: FakeKubernetes
) -> None:
    await recording.record(FULL, FULL)
    (name,) = kubernetes.objects("events")
    kubernetes.remove("events", name)
    await recording.record(FULL, FULL)
    assert recording.stored["StorageFull"]["series"]["count"] == 2


async def test_what_is_remembered_is_bounded(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_recorder, "_MOST_REMEMBERED", 2)
    await recording.record(*(ExportEvent("Normal", f"R{n}", "It.") for n in range(4)))
    assert len(recording.recorder._posted) == 2


@pytest.mark.usefixtures("in_time")
async def test_a_refused_repeat_is_told_with_the_next(
    recording: Recording, kubernetes: FakeKubernetes
) -> None:
    await recording.record(FULL)
    kubernetes.faults.append(Fault("patch events", status=500))
    await recording.record(FULL, FULL)
    assert recording.stored["StorageFull"]["series"]["count"] == 3
