"""The API's pods, one by one."""

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playground.forward import free_port
from playground.tools import STATE, environment, get, kubectl, wait_for


def names(namespace: str, component: str = "api") -> list[str]:
    """The pods of a component that are not about to end."""
    label = f"app.kubernetes.io/component={component}"
    pods = get("-n", namespace, "pods", "-l", label)["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


@contextmanager
def forwarded(namespace: str, pod: str) -> Iterator[str]:
    """The URL of one pod for as long as the context lasts."""
    port = free_port()
    process = subprocess.Popen(
        [
            STATE / "bin" / "kubectl", "-n", namespace, "port-forward",
            "--address=127.0.0.1", f"pod/{pod}", f"{port}:8080",
        ],
        env={**os.environ, **environment()},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def look() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    try:
        wait_for(look, f"an answer of {pod}", 30)
        yield url
    finally:
        process.terminate()
        process.wait()


def scale(namespace: str, deployment: str, component: str, replicas: int) -> None:
    """Scale, and wait until that many pods are there, ready, and no others."""
    label = f"app.kubernetes.io/component={component}"
    kubectl("-n", namespace, "scale", f"deploy/{deployment}", f"--replicas={replicas}")
    kubectl("-n", namespace, "rollout", "status", f"deploy/{deployment}", "--timeout=60s")

    def look() -> bool:
        pods = get("-n", namespace, "pods", "-l", label)["items"]
        return len(pods) == replicas

    wait_for(look, f"{replicas} pods of {deployment}", 60)
