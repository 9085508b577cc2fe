"""What may heal is tried again, later, and shown; a disruption costs no attempt."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import shared_server
from backupexport_contract import timestamps
from failing_exports import (
    MODEST,
    Attempted,
    assert_explained,
    assert_nothing_leaked,
    begin,
)
from installation import Installation
from playground import demo_database
from playground.postgres import Postgres
from playground.tools import apply, kubectl, wait_for
from table_locks import locked, wait_until_blocked

pytestmark = pytest.mark.cluster

_BULK = """
CREATE TABLE bulk AS
SELECT i AS id, repeat(md5(i::text), 30) AS text FROM generate_series(1, 200000) AS i;
"""
_COPIES = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY public.bulk %' AND state = 'active'
"""
_BULK_SUM = "SELECT count(*), sum(hashtext(text)) FROM bulk"
HELD = ("too-slow", "deleted", "forced", "evicted", "orphaned")
_HELD = """
CREATE DATABASE {database};
\\c {database}
CREATE TABLE held AS SELECT 1 AS id;
"""
_SUSPEND = '{"spec":{"suspend":true}}'


@dataclass
class Held:
    """An export whose dump waits for a lock until `free` is called."""

    begin: Callable[[], Attempted]
    server: Postgres
    free: Callable[[], None]

    @functools.cached_property
    def export(self) -> Attempted:
        """Begun when it is first asked for: a dump waits for a lock for two minutes at most."""
        return self.begin()

    def blocked_pod(self, but: tuple[str, ...] = ()) -> str:
        """The name of the pod, none of `but`, whose dump waits."""

        def look() -> str | None:
            names = [pod["metadata"]["name"] for pod in self.export.pods() if is_running(pod)]
            return next((name for name in names if name not in but), None)

        name = wait_for(look, f"a running pod of {self.export.name}", 300)
        wait_until_blocked(self.server, self.export.job_id())
        return name


def is_running(pod: dict[str, Any]) -> bool:
    """Whether it runs and nobody has asked it to end."""
    return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]


@pytest.fixture(scope="module")
def held(installation: Installation, connection: dict[str, str]) -> Iterator[dict[str, Held]]:
    """Exports that wait for a lock, so that each test can disturb its own."""
    server = installation.server
    server.psql("".join(_HELD.format(database=database(name)) for name in HELD))
    with contextlib.ExitStack() as all_locks:
        locks = {name: all_locks.enter_context(contextlib.ExitStack()) for name in HELD}
        for name in HELD:
            locks[name].enter_context(locked(server, database(name), "held"))
        found = {
            name: Held(
                functools.partial(
                    begin,
                    installation.namespace,
                    name,
                    {**connection, "database": database(name)},
                    **_spec(name),
                ),
                server,
                locks[name].close,
            )
            for name in HELD
        }
        # So that its time runs beside the other tests.
        assert found["too-slow"].export
        yield found


def _spec(name: str) -> dict[str, Any]:
    # Long enough for a busy node to bring its dump to the lock.
    return {"activeDeadlineSeconds": 90} if name == "too-slow" else {}


def database(name: str) -> str:
    """The database of an export that waits for a lock."""
    return name.replace("-", "_")


@pytest.fixture(scope="module")
def crashed(installation: Installation) -> Attempted:
    """An export whose server dies in the middle of its dump and comes back."""
    server = Postgres(installation.namespace, "crashing")
    server.start()
    server.psql(f"CREATE ROLE {demo_database.EXPORTER} LOGIN SUPERUSER")
    server.psql(_BULK)
    connection = demo_database.exporter_connection(server, "postgres")
    # Little processor time, so that there is a middle.
    slow = {**MODEST, "limits": {"cpu": "150m", "memory": "256Mi"}}
    export = begin(installation.namespace, "crashed", connection, {"resources": slow})
    # The server tells: a status may be of a dump that has ended meanwhile.
    wait_for(lambda: server.psql(_COPIES) != "0", "the dump at work", 300)
    kubectl("-n", server.namespace, "exec", server.pod, "--", "sh", "-c", "kill -QUIT 1")
    return export


def test_a_server_that_comes_late_is_found_by_a_later_attempt(
    installation: Installation,
    connection: dict[str, str],
    held: dict[str, Held],  # one is begun before, so that its wait runs beside this one
) -> None:
    assert held
    namespace = installation.namespace
    apply(_service(namespace, "late"))
    late = begin(namespace, "late", {**connection, "host": f"late.{namespace}.svc"})
    status = late.told("ConnectionFailed")
    # At once: the second attempt is the last.
    apply(_endpoint(namespace, "late", shared_server.address(installation.server)))
    assert_explained(late, status, "attempt 1 of 2 failed, trying again")
    # An attempt that fails this fast may never have been seen running.
    assert status["phase"] in ("Pending", "Running")
    assert status["attempts"] == 1
    status = late.ended()
    assert (status["phase"], status["attempts"]) == ("Succeeded", 2), status
    assert "reason" not in status
    first, second = sorted(
        timestamps.from_text(pod["metadata"]["creationTimestamp"]) for pod in late.pods()
    )
    assert (second - first).total_seconds() >= 10


def test_an_export_goes_on_when_its_target_is_suspended_and_deleted(
    held: dict[str, Held],
) -> None:
    one = held["orphaned"]
    pod = one.blocked_pod()
    target = ("-n", one.export.namespace)
    kubectl(*target, "patch", "ext", "target-orphaned", "--type=merge", "-p", _SUSPEND)
    kubectl(*target, "delete", "ext", "target-orphaned")
    assert one.blocked_pod() == pod
    one.free()
    assert_whole(one, attempts=1)


def test_a_pod_deleted_by_hand_is_replaced(held: dict[str, Held]) -> None:
    one = held["deleted"]
    pod = one.blocked_pod()
    kubectl("-n", one.export.namespace, "delete", "pod", pod, "--wait=false")
    one.blocked_pod(but=(pod,))
    one.free()
    assert_whole(one, attempts=2)


def test_a_pod_deleted_by_force_is_replaced(held: dict[str, Held]) -> None:
    one = held["forced"]
    pod = one.blocked_pod()
    kubectl(
        "-n", one.export.namespace, "delete", "pod", pod, "--force", "--grace-period=0",
        "--wait=false",
    )  # fmt: skip
    one.blocked_pod(but=(pod,))
    one.free()
    assert_whole(one, attempts=2)


def test_evictions_cost_no_attempt(held: dict[str, Held]) -> None:
    one = held["evicted"]
    seen: tuple[str, ...] = ()
    # More often than a failure may happen.
    for _ in range(2):
        pod = one.blocked_pod(but=seen)
        evict(one.export.namespace, pod)
        seen = (*seen, pod)
    one.blocked_pod(but=seen)
    one.free()
    assert_whole(one, attempts=1)
    assert one.export.job()["status"].get("failed", 0) == 0


def test_a_dump_that_takes_too_long_is_ended(held: dict[str, Held]) -> None:
    export = held["too-slow"].export
    status = export.ended()
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded"), status
    assert_explained(
        export, status, "raise it on the BackupExport", "dumped nothing yet", "waits for a lock"
    )
    assert status["attempts"] == 1


def test_a_dump_cut_by_the_servers_crash_is_done_again(
    installation: Installation, crashed: Attempted
) -> None:
    status = crashed.ended()
    assert (status["phase"], status["attempts"]) == ("Succeeded", 2), status
    assert crashed.has_event("Warning", "ConnectionFailed")
    artifact = status["artifact"]
    volume = installation.volume
    assert volume.sha256(artifact["path"]) == artifact["sha256"]
    assert len(volume.files("crashed")) == 2
    volume.restore(artifact["path"], "crashed")
    crashing = Postgres(installation.namespace, "crashing")
    assert installation.server.psql(_BULK_SUM, "crashed") == crashing.psql(_BULK_SUM)
    crashing.stop()


def assert_whole(one: Held, attempts: int) -> None:
    """It succeeded in its `attempts`th attempt, and nobody told a secret."""
    status = one.export.ended()
    assert (status["phase"], status["attempts"]) == ("Succeeded", attempts), status
    assert "reason" not in status
    assert_nothing_leaked(one.export)


def evict(namespace: str, pod: str) -> None:
    """What a drain does to each pod of its node."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    kubectl(
        "create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", "-f", "-",
        stdin=json.dumps(eviction),
    )  # fmt: skip


def _service(namespace: str, name: str) -> dict[str, Any]:
    """Of no pods: who asks it for its endpoints finds those that are made by hand."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 5432}]},
    }


def _endpoint(namespace: str, service: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": service,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"port": 5432}],
    }
