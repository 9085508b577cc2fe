"""PgBouncer before a real server, with a pool in each of two modes, and a Service."""

from typing import Any

from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.tools import apply, images, kubectl

NAME = "pgbouncer"
PORT = 6432
# The databases that it knows: both are that of the connection.
SESSION, TRANSACTION = "by_session", "by_transaction"

_USER = 999
# The Secret of its files, of which one has the password.
_FILES = "pgbouncer-files"
_SETTINGS = """
[databases]
{session} = host={host} dbname={database} pool_mode=session
{transaction} = host={host} dbname={database} pool_mode=transaction

[pgbouncer]
listen_addr = *
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
"""


def start(namespace: str, connection: dict[str, str]) -> str:
    """Start it before the server of `connection`; returns its host.

    Callers log in as that connection's user.
    """
    labels = {"app.kubernetes.io/name": NAME}
    settings = _SETTINGS.format(
        session=SESSION, transaction=TRANSACTION, port=PORT,
        host=connection["host"], database=connection["database"],
    )  # fmt: skip
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _FILES, "namespace": namespace},
            "stringData": {
                "pgbouncer.ini": settings,
                "userlist.txt": f'"{connection["username"]}" "{connection["password"]}"\n',
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": namespace, "labels": labels},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    **POD_SECURITY, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER,
                },
                "containers": [_container()],
                "volumes": [{"name": "files", "secret": {"secretName": _FILES}}],
            },
        },
    )  # fmt: skip
    kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=240s")
    return f"{NAME}.{namespace}.svc"


def _container() -> dict[str, Any]:
    return {
        "name": NAME,
        "image": images()["POSTGRES_MAJORS_IMAGE"],
        "command": ["/usr/sbin/pgbouncer", "/etc/pgbouncer/pgbouncer.ini"],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "files", "mountPath": "/etc/pgbouncer", "readOnly": True}],
    }
