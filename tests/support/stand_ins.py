"""Pods that have an installation's labels and ports, and a shell's freedom to try connections."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.tools import apply, get, images, kubectl

UNNAMED_PORT = 9999
"""One that no container names; each pod listens on it too."""

_LISTEN = """
import socket, sys
from threading import Thread

def take(listener):
    while True:
        listener.accept()[0].close()

for port in sys.argv[1:]:
    Thread(target=take, args=(socket.create_server(("", int(port)), backlog=100),)).start()
"""
# A refusal is a REJECT's; whoever drops packets would be waited for.
_CONNECT = """
import json, socket, sys

def connects(address):
    try:
        socket.create_connection(address, timeout=10).close()
    except OSError:
        return False
    return True

print(json.dumps([connects(tuple(address)) for address in json.loads(sys.argv[1])]))
"""

Address = tuple[str, int]


def stand_in(name: str, labels: Mapping[str, str], ports: Iterable[Mapping[str, Any]]) -> Any:
    """The manifest of a pod; `ports` as a container has them."""
    listened = [*ports, {"containerPort": UNNAMED_PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": POD_SECURITY,
            "containers": [
                {
                    "name": "stand-in",
                    "image": images()["IMAGE"],
                    "command": ["python3", "-c", _LISTEN],
                    "args": [str(port["containerPort"]) for port in listened],
                    "ports": list(ports),
                    "readinessProbe": {"tcpSocket": {"port": UNNAMED_PORT}, "periodSeconds": 1},
                    "securityContext": CONTAINER_SECURITY,
                }
            ],
        },
    }


def start(namespace: str, pods: list[Any]) -> dict[str, str]:
    """Start them all; their addresses by their names, once they listen."""
    for pod in pods:
        pod["metadata"]["namespace"] = namespace
    apply(*pods)
    names = [pod["metadata"]["name"] for pod in pods]
    kubectl(
        "-n", namespace, "wait", "--for=condition=Ready", "--timeout=240s",
        *(f"pod/{name}" for name in names),
    )  # fmt: skip
    found = get("-n", namespace, "pods")["items"]
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in found}
    return {name: addresses[name] for name in names}


def reached(namespace: str, workload: str, addresses: Iterable[Address]) -> set[Address]:
    """Those of `addresses` to which a connection is made from inside of a pod.

    `workload` is what `kubectl exec` takes, such as a pod's name or `deploy/<name>`.
    """
    tried = list(addresses)
    told = kubectl(
        "-n", namespace, "exec", workload, "--", "python3", "-c", _CONNECT, json.dumps(tried)
    )
    return {address for address, connects in zip(tried, json.loads(told), strict=True) if connects}
