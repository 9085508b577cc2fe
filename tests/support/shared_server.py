"""One PostgreSQL server for all processes of a run of tests: filling it takes half a minute.

It is in a namespace of its own, which the first process makes and the run's first process removes.
"""

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from playground import demo_database
from playground.postgres import Postgres
from playground.tools import STATE, apply, get, kubectl, make_namespace

# Processes that are started by this one find the namespace's name there.
_NAMESPACE = "BACKUPEXPORT_TESTS_SERVER_NAMESPACE"
# The Secret of the namespace that is made last, and with it the server is whole.
_EXPORTER = "exporter"
_SMALL_DATABASE = """
CREATE TABLE items (id int PRIMARY KEY, name text);
INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 1000) AS i;
"""


def choose_namespace() -> bool:
    """Choose its namespace, unless a process before this one has; whether it was this one."""
    if _NAMESPACE in os.environ:
        return False
    os.environ[_NAMESPACE] = f"backupexport-test-server-{secrets.token_hex(3)}"
    return True


def remove() -> None:
    """Remove it, if it was ever made."""
    kubectl(
        "delete", "namespace", os.environ.pop(_NAMESPACE), "--ignore-not-found", "--wait=false"
    )  # fmt: skip


def filled_server() -> tuple[Postgres, dict[str, str]]:
    """The server, with the databases `large` and `small`, and how an export connects to `large`."""
    namespace = os.environ[_NAMESPACE]
    server = Postgres(namespace)
    with _alone():
        make_namespace(namespace)
        if not kubectl("-n", namespace, "get", "secret", _EXPORTER, "--ignore-not-found"):
            server.start()
            # Everything that is odd about it, at a tenth of its size: the demo has all of it.
            demo_database.load(server, "large", share=0.1)
            server.psql("CREATE DATABASE small")
            server.psql(_SMALL_DATABASE, "small")
            _keep(namespace, demo_database.exporter_connection(server, "large"))
    kept = get("-n", namespace, "secret", _EXPORTER)["data"]
    return server, {key: base64.b64decode(value).decode() for key, value in kept.items()}


def lend_superuser(server: Postgres, namespace: str) -> None:
    """Have a namespace's pods find the superuser's password as if the server were in there."""
    secret = get("-n", server.namespace, "secret", f"{server.name}-superuser")
    metadata = {"name": secret["metadata"]["name"], "namespace": namespace}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": secret["data"]})


def address(server: Postgres) -> str:
    """Its pod's IP address."""
    found: str = get("-n", server.namespace, "pod", server.pod)["status"]["podIP"]
    return found


def _keep(namespace: str, connection: dict[str, str]) -> None:
    metadata = {"name": _EXPORTER, "namespace": namespace}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": connection})


@contextmanager
def _alone() -> Iterator[None]:
    """One process of this clone at a time."""
    with (STATE / "shared-server.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
