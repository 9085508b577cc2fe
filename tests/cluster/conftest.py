"""One installation for all cluster tests of a process, of which there are two.

It has the chart, a PostgreSQL with the demo database, and a token.  Everything lives in a
namespace of its own that is removed afterwards, so that a demo can be on the same cluster.  Set
KEEP_NAMESPACE=1 to look at it when the tests are over.
"""

import os
import secrets
from collections.abc import Iterator

import pytest
from failing_exports import small_connection
from installation import LARGE, SMALL, Installation
from playground import demo_database
from playground.forward import forwarded
from playground.postgres import Postgres
from playground.release import Release
from playground.rest import Api
from playground.restore import ExportsVolume
from playground.targets import make_target
from playground.tools import kubectl, make_namespace

_SLOW = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}}
_SMALL_DATABASE = """
CREATE TABLE items (id int PRIMARY KEY, name text);
INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 1000) AS i;
"""


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    namespace = f"backupexport-test-{secrets.token_hex(3)}"
    make_namespace(namespace)
    try:
        server = Postgres(namespace)
        server.start()
        # Everything that is odd about it, at a third of its size: the demo has all of it.
        demo_database.load(server, "large", share=0.2)
        server.psql("CREATE DATABASE small")
        server.psql(_SMALL_DATABASE, "small")
        release = Release(namespace)
        release.install(
            {
                "storage": {"size": "5Gi", "keep": False},
                "auth": {"jwt": {"tokensWithoutProjects": "all"}},
                "runner": {"backoffLimit": 1},
            }
        )
        connection = demo_database.exporter_connection(server, "large")
        # Slowed down: an export is to last long enough to be seen at work, on any machine.
        make_target(namespace, LARGE, connection, maxConcurrent=20, resources=_SLOW)
        make_target(namespace, SMALL, {**connection, "database": "small"}, maxConcurrent=20)
        volume = ExportsVolume(namespace, f"{release.name}-exports", server)
        volume.open()
        with forwarded(namespace, f"{release.name}-api") as url:
            everything = Api(url, release.token("tests"))
            yield Installation(namespace, server, release, volume, url, everything)
    finally:
        if os.environ.get("KEEP_NAMESPACE") != "1":
            kubectl("delete", "namespace", namespace, "--wait=false")
            # It is of the whole cluster, and doesn't go with the namespace.
            kubectl(
                "delete", "validatingadmissionpolicy,validatingadmissionpolicybinding",
                f"{namespace}-backupexport-target-secrets", "--ignore-not-found",
            )  # fmt: skip


@pytest.fixture
def api(installation: Installation) -> Api:
    """A caller of the test's own."""
    return installation.caller()


@pytest.fixture(scope="session")
def connection(installation: Installation) -> dict[str, str]:
    """What the Secret of the small database's target holds."""
    return small_connection(installation)
