"""The API's pods, one by one."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from kept_forward import kept_forward
from playground.tools import get, kubectl, wait_for


def names(namespace: str, component: str = "api") -> list[str]:
    """The pods of a component that are not about to end."""
    label = f"app.kubernetes.io/component={component}"
    pods = get("-n", namespace, "pods", "-l", label)["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


@contextmanager
def forwarded(namespace: str, pod: str) -> Iterator[str]:
    """The URL of one pod for as long as the context lasts."""
    with kept_forward(namespace, f"pod/{pod}", 8080) as port:
        url = f"http://127.0.0.1:{port}"

        def look() -> bool:
            try:
                with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                    return True
            except (urllib.error.URLError, OSError):
                return False

        wait_for(look, f"an answer of {pod}", 120)
        yield url


def scale(namespace: str, deployment: str, component: str, replicas: int) -> None:
    """Scale, and wait until that many pods are there, ready, and no others."""
    label = f"app.kubernetes.io/component={component}"
    kubectl("-n", namespace, "scale", f"deploy/{deployment}", f"--replicas={replicas}")
    kubectl("-n", namespace, "rollout", "status", f"deploy/{deployment}", "--timeout=240s")

    def look() -> bool:
        pods = get("-n", namespace, "pods", "-l", label)["items"]
        return len(pods) == replicas

    wait_for(look, f"{replicas} pods of {deployment}", 240)
