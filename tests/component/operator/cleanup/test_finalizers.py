"""Finalizers are taken off by hundreds, whatever else is written to the same resources."""

import asyncio

import builders
import pytest
from backupexport_contract import names
from backupexport_operator.cleanup import finalizers
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException
from waiting import until

PATCH = "patch backupexports"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalizers, "_FIRST_PAUSE", 0.001)


def seed(kubernetes: FakeKubernetes, name: str, *held: str) -> None:
    kubernetes.seed("backupexports", builders.export_manifest(name, uid=name, finalizers=[*held]))


def left(kubernetes: FakeKubernetes) -> dict[str, list[str]]:
    stored = kubernetes.objects("backupexports")
    return {name: it["metadata"].get("finalizers", []) for name, it in stored.items()}


async def test_all_pages_and_only_ours(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    for number in range(1201):
        ours = [names.FINALIZER] if number % 10 == 0 and number != 1100 else []
        seed(kubernetes, f"e{number:04}", *(["other/one"] if number != 1100 else []), *ours)
    assert await finalizers.release_finalizers(api_client, NAMESPACE) == 120
    lists = [call.query for call in kubernetes.calls if str(call) == "list backupexports"]
    assert [query["limit"] for query in lists] == ["500"] * 3
    assert names.FINALIZER not in str(left(kubernetes))
    assert left(kubernetes)["e1200"] == ["other/one"]
    assert left(kubernetes)["e0007"] == ["other/one"]
    assert left(kubernetes)["e1100"] == []
    patched = [call.content_type for call in kubernetes.calls if str(call) == PATCH]
    assert patched == ["application/json-patch+json"] * 120


@pytest.mark.parametrize("status", [409, 422, 500, 503, 429])
async def test_tried_again(
    api_client: client.ApiClient, kubernetes: FakeKubernetes, status: int
) -> None:
    seed(kubernetes, "a", names.FINALIZER)
    kubernetes.faults.append(Fault(PATCH, status=status, times=2))
    await finalizers.release_finalizers(api_client, NAMESPACE)
    assert left(kubernetes) == {"a": []}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(PATCH, status=504, is_stored=True),
        Fault(PATCH, is_cut=True, is_stored=True),
    ],
    ids=["504", "cut"],
)
async def test_a_lost_answer_takes_nobody_elses_away(
    api_client: client.ApiClient, kubernetes: FakeKubernetes, fault: Fault
) -> None:
    """The patch was carried out, and what stands in its place by now is another's."""
    seed(kubernetes, "a", names.FINALIZER, "other/one")
    kubernetes.faults.append(fault)
    await finalizers.release_finalizers(api_client, NAMESPACE)
    assert left(kubernetes) == {"a": ["other/one"]}


async def released_while(
    api_client: client.ApiClient, kubernetes: FakeKubernetes, status: int | None
) -> "asyncio.Task[int]":
    """What the first patch meets is not what was listed: it is held for now."""
    held = Fault(PATCH, status=status, is_held=True)
    kubernetes.faults.append(held)
    releasing = asyncio.create_task(finalizers.release_finalizers(api_client, NAMESPACE))
    await until(lambda: held.met == 1)
    return releasing


async def test_a_list_that_changes_meanwhile_is_read_again(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    seed(kubernetes, "a", names.FINALIZER)
    releasing = await released_while(api_client, kubernetes, None)
    changed = {"metadata": {"finalizers": ["other/one", names.FINALIZER]}}
    kubernetes.change("backupexports", "a", changed)
    kubernetes.faults[0].release()
    await releasing
    assert left(kubernetes) == {"a": ["other/one"]}
    assert [call.status for call in kubernetes.calls if str(call) == PATCH] == [422, 200]


@pytest.mark.parametrize("status", [None, 422])
async def test_gone_is_fine(
    api_client: client.ApiClient, kubernetes: FakeKubernetes, status: int | None
) -> None:
    seed(kubernetes, "a", names.FINALIZER)
    releasing = await released_while(api_client, kubernetes, status)
    kubernetes.remove("backupexports", "a")
    kubernetes.faults[0].release()
    await releasing
    assert left(kubernetes) == {}


async def test_a_server_that_goes_on_refusing_is_an_error(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    seed(kubernetes, "a", names.FINALIZER)
    kubernetes.faults.append(Fault(PATCH, status=403, times=9))
    with pytest.raises(ApiException):
        await finalizers.release_finalizers(api_client, NAMESPACE)
    assert left(kubernetes) == {"a": [names.FINALIZER]}


@pytest.mark.parametrize("terminating", [False, True])
async def test_the_end_of_the_namespace(
    api_client: client.ApiClient, kubernetes: FakeKubernetes, terminating: bool
) -> None:
    if terminating:
        kubernetes.end_namespace()
    assert await finalizers.namespace_is_terminating(api_client, NAMESPACE) is terminating
