"""kubectl and helm as `make cluster-up` left them, called as a person would call them.

What is asked often, `get`, `get_raw` and `apply`, goes by HTTP, which costs less.
"""

import argparse
import functools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from playground.kinds import DISCOVERY, Kind, kinds_by_name
from playground.kubectl_proxy import KubectlProxy

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
    """Kubectl apply --server-side."""
    for manifest in manifests:
        metadata = manifest["metadata"]
        kind = _kind(f"{manifest['apiVersion']}/{manifest['kind']}")
        options = {"fieldManager": "playground", "force": "true", "fieldValidation": "Strict"}
        _ask(
            "PATCH",
            f"{kind.path(metadata.get('namespace'), metadata['name'])}?{urlencode(options)}",
            # JSON is YAML, but for surrogates as escapes.
            json.dumps(manifest, ensure_ascii=False).encode(),
            {"Content-Type": "application/apply-patch+yaml"},
        )


def get(*arguments: str) -> Any:
    """Kubectl get … -o json, of one kind; without -n, of the whole cluster."""
    options = _GET.parse_args(arguments)
    named, _, name = options.kind.partition("/")
    selectors = {"labelSelector": options.label, "fieldSelector": options.field}
    query = urlencode({key: value for key, value in selectors.items() if value})
    path = _kind(named).path(options.namespace, options.name or name or None)
    return json.loads(_ask("GET", f"{path}?{query}"))


def get_raw(path: str) -> str:
    """Kubectl get --raw."""
    return _ask("GET", path).decode()


def _get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("get", exit_on_error=False)
    parser.add_argument("-n", dest="namespace")
    parser.add_argument("-l", dest="label")
    parser.add_argument("--field-selector", dest="field")
    parser.add_argument("kind")
    parser.add_argument("name", nargs="?")
    return parser


_GET = _get_parser()


def _ask(
    method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """The body of a good answer; ToolError in kubectl's words for any other, and for none."""
    try:
        status, answer = _proxy().request(method, path, body, headers=headers)
    except OSError as error:
        raise ToolError(f"{method} {path}\n{error}") from error
    if status < 300:
        return answer
    try:
        told = json.loads(answer)
        words = f"Error from server ({told['reason']}): {told['message']}"
    except (ValueError, KeyError, TypeError):
        words = f"Error from server: {status} {answer.decode(errors='replace')}"
    raise ToolError(f"{method} {path}\n{words}")


@functools.cache
def _proxy() -> KubectlProxy:
    return KubectlProxy(STATE / "bin" / "kubectl", environment())


_kinds: dict[str, Kind] = {}


def _kind(name: str) -> Kind:
    if name not in _kinds:
        # A CRD may have come since.
        accept = {"Accept": DISCOVERY}
        documents = [json.loads(_ask("GET", path, headers=accept)) for path in ("/api", "/apis")]
        _kinds.update(kinds_by_name(*documents))
    if name not in _kinds:
        raise ToolError(f'the server doesn\'t have a resource type "{name}"')
    return _kinds[name]


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
    """A namespace that Kubernetes is told to delete afterwards, with all that is in it."""
    make_namespace(name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
