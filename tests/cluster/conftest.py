"""One installation for all cluster tests of a process, of which there are some side by side.

It has the chart and a token, in a namespace of its own that is removed afterwards, so that a demo
can be on the same cluster.  The PostgreSQL server with the demo database is one for all processes.
Set KEEP_NAMESPACE=1 to look at it all when the tests are over.
"""

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import shared_server
from failing_exports import small_connection
from held_project import HeldProject, held_project
from installation import LARGE, SMALL, Installation
from playground.forward import forwarded
from playground.release import Release
from playground.rest import Api
from playground.restore import ExportsVolume
from playground.targets import make_target
from playground.tools import kubectl, make_namespace

_SLOW = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "250m", "memory": "1Gi"}}
_VALUES = {
    "storage": {"size": "5Gi", "keep": False},
    "runner": {"backoffLimit": 1},
}
_IS_FIRST = pytest.StashKey[bool]()
# The files that take longest, so that none of them is begun when the others are nearly done.
_LONGEST = (
    "main_job", "buckets", "cli_rest", "majors", "cli_faults", "egress_enforced", "silent_node",
    "deliveries", "retries",
    "dump_causes", "remarks", "benchmarks", "web_page", "failures", "storage_failures",
    "operator_takeover", "hostile_values", "start_failures", "life_cycle", "large_short",
    "restores", "chart", "schemathesis", "encryption", "session_settings", "connection_forms",
    "replicas", "delivery_ends", "download", "mail_server", "live_events", "operator_outage",
    "hostile_owner", "kubernetes_outage", "older_server", "rolling_restart",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_IS_FIRST] = shared_server.choose_namespace()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[_IS_FIRST] and os.environ.get("KEEP_NAMESPACE") != "1":
        shared_server.remove()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    namespace = f"backupexport-test-{secrets.token_hex(3)}"
    make_namespace(namespace)
    release = Release(namespace)
    try:
        with ThreadPoolExecutor() as beside:
            installed = beside.submit(release.install, _VALUES)
            server, connection = shared_server.filled_server()
            installed.result()
        shared_server.lend_superuser(server, namespace)
        # Slowed down: an export is to last long enough to be seen at work, on any machine.
        make_target(namespace, LARGE, connection, maxConcurrent=20, resources=_SLOW)
        make_target(namespace, SMALL, {**connection, "database": "small"}, maxConcurrent=20)
        volume = ExportsVolume(namespace, f"{release.name}-exports", server)
        volume.open()
        with forwarded(namespace, f"{release.name}-api") as url:
            everything = Api(url, release.token("tests", "--all-projects"))
            yield Installation(namespace, server, release, volume, url, everything)
    finally:
        if os.environ.get("KEEP_NAMESPACE") != "1":
            kubectl("delete", "namespace", namespace, "--wait=false")
            # They are of the whole cluster, and don't go with the namespace.
            kubectl(
                "delete", "validatingadmissionpolicies,validatingadmissionpolicybindings",
                "-l", f"backupexport.dev/namespace={namespace}",
            )  # fmt: skip


@pytest.fixture
def api(installation: Installation) -> Api:
    """A caller of the test's own."""
    return installation.caller()


@pytest.fixture(scope="session", name="held_project")
def _held_project(installation: Installation, connection: dict[str, str]) -> HeldProject:
    return held_project(installation.server, installation.namespace, connection)


@pytest.fixture(scope="session")
def connection(installation: Installation) -> dict[str, str]:
    """What the Secret of the small database's target holds."""
    return small_connection(installation)
