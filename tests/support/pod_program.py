"""A program of the standard library alone, in a pod of its own inside of the cluster."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from playground.tools import images, kubectl


@contextmanager
def in_pod(namespace: str, module: ModuleType, *arguments: str) -> Iterator[str]:
    """Run `module` with `arguments`; the pod's name. The pod is gone after the context."""
    name = f"{module.__name__.replace('_', '-')}-{secrets.token_hex(3)}"
    program = Path(str(module.__file__)).read_text(encoding="utf-8")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "program",
                    "image": images()["IMAGE"],
                    "command": ["python3", "-c", program, *arguments],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(pod))
    try:
        kubectl("-n", namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=240s")
        yield name
    finally:
        kubectl("-n", namespace, "delete", "pod", name, "--grace-period=0", "--force")


def output_of(namespace: str, pod: str, seconds: int) -> str:
    """What the program has printed when it has ended well."""
    kubectl(
        "-n", namespace, "wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Succeeded",
        f"--timeout={seconds}s",
    )  # fmt: skip
    return kubectl("-n", namespace, "logs", pod)
