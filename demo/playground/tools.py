"""kubectl and helm as `make cluster-up` left them, called as a person would call them."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".cluster"
# Go's settings for a program that ends at once: of a `kubectl get` they save a quarter.
_BRIEF = {"GOGC": "off", "GOMEMLIMIT": "512MiB", "GOMAXPROCS": "1"}

Found = TypeVar("Found")


class ToolError(RuntimeError):
    """A command that failed, with what it said."""


class NeverHappenedError(RuntimeError):
    """A condition that did not come true in time."""


def environment() -> dict[str, str]:
    """The environment for kubectl and helm: the clone's own kubeconfig."""
    kubeconfig = STATE / "kubeconfig"
    if not kubeconfig.exists():
        raise ToolError("there is no cluster yet: run `make cluster-up images` first")
    return {**os.environ, "KUBECONFIG": str(kubeconfig)}


def images() -> dict[str, str]:
    """The references that `make images` built, such as IMAGE and RUNNER_IMAGE."""
    file = STATE / "images.env"
    if not file.exists():
        raise ToolError("there are no images yet: run `make images` first")
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def run(tool: str, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
    """What `kubectl` or `helm` prints; ToolError with its stderr where it fails."""
    command = [str(STATE / "bin" / tool), *arguments]
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment() | _BRIEF,
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join([tool, *arguments])
        raise ToolError(f"{shown}\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
    """What kubectl prints."""
    return run("kubectl", *arguments, stdin=stdin, timeout=timeout)


def apply(*manifests: dict[str, Any]) -> None:
    """Kubectl apply."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    kubectl("apply", "-f", "-", stdin=json.dumps(listed))


def get(*arguments: str) -> Any:
    """Kubectl get … -o json."""
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def wait_for(
    look: Callable[[], Found | None], what: str, seconds: float, every: float = 0.2
) -> Found:
    """The first result of `look` that is not None or False; NeverHappenedError in `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise NeverHappenedError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def make_namespace(name: str) -> None:
    """A namespace that takes nothing but `restricted` pods."""
    apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/enforce-version": "latest",
                },
            },
        }
    )


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """A namespace that is gone afterwards, with all that is in it."""
    make_namespace(name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=true", timeout=180)
