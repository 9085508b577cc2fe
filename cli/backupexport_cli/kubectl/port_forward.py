"""The api's Service on a port of this machine, for as long as a command needs it."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.failures import KubectlError, failure
from backupexport_cli.kubectl.process import Kept, Kubectl, end, started

_FORWARDER = Path(__file__).with_name("forwarder.py")
_SECONDS = 60.0
_MOST_BYTES = 64 * 2**10
# For a pod that is about to run.
_POD_SECONDS = 20
_API = "app.kubernetes.io/part-of=backupexport,app.kubernetes.io/component=api"
_INSTANCE = "app.kubernetes.io/instance"
_NAMESPACE = "Name the namespace of the installation with -n."
_RELEASE = "Name the namespace with -n, and its Helm release with --release."


def find_api_service(
    kubectl: Kubectl, release: str | None = None, *, preferred: str | None = None
) -> str:
    """Return the name of the one Service of an api in the namespace, of that release if given.

    Of several without a release, `preferred` is taken where it is one of them.
    """
    selector = _API if release is None else f"{_API},{_INSTANCE}={release}"
    found = kubectl.json("get", "services", f"--selector={selector}")
    releases = {
        str(each["metadata"]["name"]): str((each["metadata"].get("labels") or {}).get(_INSTANCE))
        for each in found.get("items") or ()
    }
    if not releases:
        of = "" if release is None else f" of the release {release}"
        raise CliError(
            ExitCode.NOT_FOUND,
            f"There is no Service of backupexport{of} {_where(kubectl)}.",
            _NAMESPACE if release is None else _RELEASE,
        )
    if len(releases) > 1 and preferred in releases:
        return preferred
    if len(releases) > 1:
        raise CliError(
            ExitCode.USAGE,
            f"There are {len(releases)} installations {_where(kubectl)}.",
            f"Name one of these with --release: {', '.join(sorted(releases.values()))}.",
        )
    return next(iter(releases))


@contextmanager
def port_forward(
    kubectl: Kubectl, service: str, port: int | str = "http", *, seconds: float = _SECONDS
) -> Iterator[str]:
    """Yield the URL under which `port` of a Service, its number or its name, is reached.

    The URL stays good when the pod behind it goes and another comes.
    """
    command = kubectl.command(
        "port-forward", f"service/{service}", "--address=127.0.0.1",
        f"--pod-running-timeout={_POD_SECONDS}s", f":{port}",
    )  # fmt: skip
    # Isolated, and without what is installed: it starts in a moment.
    forwarder = [sys.executable, "-I", "-S", str(_FORWARDER), *command]
    with started(forwarder, kubectl.environment, stdin=subprocess.PIPE) as process:
        words = Kept(process.stderr, _MOST_BYTES)
        try:
            yield f"http://127.0.0.1:{_port(process, words, seconds)}"
        finally:
            # By the end of its input, so that it ends kubectl first.
            if process.stdin is not None:
                process.stdin.close()
            end(process)


def _port(process: subprocess.Popen[bytes], words: Kept, seconds: float) -> int:
    lines: list[bytes] = []

    def read() -> None:
        if process.stdout is not None:
            lines.append(process.stdout.readline())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(seconds)
    if reader.is_alive():
        end(process)
        reader.join()
        raise KubectlError(
            ExitCode.UNREACHABLE,
            f"kubectl port-forward had no answer within {seconds:g} seconds.",
            "Check with: kubectl get --raw /readyz",
        )
    line = lines[0].decode("utf-8", "replace") if lines else ""
    if not line.startswith("port "):
        process.wait()
        raise failure(words.text())
    return int(line.removeprefix("port "))


def _where(kubectl: Kubectl) -> str:
    if kubectl.namespace:
        return f"in the namespace {kubectl.namespace}"
    return "in the kubeconfig's namespace"
