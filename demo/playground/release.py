"""The project's own chart, installed with helm."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground.tools import ROOT, STATE, get, images, kubectl, run

CHART = ROOT / "charts" / "backupexport"
# The volume can't be shared between nodes, and the cluster has one.
_DOWNLOADS = {"api": {"downloads": {"enabled": True}}}


class Release:
    """A helm release in `namespace`; the API's Service is `<name>-api`."""

    def __init__(self, namespace: str, name: str = "backupexport") -> None:
        self.namespace = namespace
        self.name = name

    def install(self, values: dict[str, Any] | None = None) -> None:
        """Install or upgrade, and wait until all deployments are ready."""
        # Of two that find no CRDs, only one may bring them.
        with _alone():
            _remove_policies_of_gone_namespaces()
            owners = _crd_owners()
            if not owners:
                self._install({}, values or {})
                return
            if owners != {self.namespace}:
                _update_crds()
        ours = {} if owners == {self.namespace} else {"crds": {"install": False}}
        self._install(ours, values or {})

    def _install(self, crds: dict[str, Any], values: dict[str, Any]) -> None:
        run(
            "helm", "upgrade", "--install", self.name, str(CHART),
            "--namespace", self.namespace, "--wait", "--timeout", "5m", "--values", "-",
            stdin=json.dumps(_merged(_images_as_values() | _DOWNLOADS | crds, values)), timeout=360,
        )  # fmt: skip

    def test(self) -> str:
        """What the chart's own test prints."""
        return run("helm", "test", self.name, "--namespace", self.namespace, "--timeout", "4m")

    def token(self, subject: str, *options: str) -> str:
        """A token minted by the API's own pod, as the chart's notes say."""
        return kubectl(
            "-n", self.namespace, "exec", f"deploy/{self.name}-api", "--",
            "backupexport-token", "--subject", subject, *options,
        ).strip()  # fmt: skip


def ensure_crds() -> None:
    """Have this clone's CRDs without a release, and leave them whose they are."""
    with _alone():
        if _crd_owners():
            _update_crds()
            return
        for file in _crd_files():
            kubectl("create", "-f", str(file))
            kubectl("wait", "--for=condition=Established", "-f", str(file), "--timeout=120s")


@contextmanager
def _alone() -> Iterator[None]:
    """One process of this clone at a time."""
    with (STATE / "crds.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _crd_files() -> list[Path]:
    return sorted((ROOT / "crds").glob("*.yaml"))


def _crd_owners() -> set[str | None]:
    """CRDs are one for the whole cluster, and helm lets one release (or kubectl) own them."""
    found = get("crds", "-l", "app.kubernetes.io/name=backupexport")["items"]
    owner = "meta.helm.sh/release-namespace"
    return {crd["metadata"].get("annotations", {}).get(owner) for crd in found}


def _remove_policies_of_gone_namespaces() -> None:
    """They are the whole cluster's, so those of a release that nobody uninstalled stay."""
    there = {namespace["metadata"]["name"] for namespace in get("namespaces")["items"]}
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        for policy in get(kind, "-l", "backupexport.dev/namespace")["items"]:
            metadata = policy["metadata"]
            if metadata["labels"]["backupexport.dev/namespace"] not in there:
                kubectl("delete", kind, metadata["name"], "--ignore-not-found")


def _update_crds() -> None:
    """Bring the CRDs up to date without touching whose they are, which is in their metadata."""
    for file in _crd_files():
        crd = json.loads(kubectl("create", "--dry-run=client", "-o", "json", "-f", str(file)))
        change = [{"op": "replace", "path": "/spec", "value": crd["spec"]}]
        kubectl("patch", "crd", crd["metadata"]["name"], "--type=json", "-p", json.dumps(change))


def _images_as_values() -> dict[str, Any]:
    built = images()
    return {
        "image": _image(built["IMAGE"]),
        "runner": {"image": _image(built["RUNNER_IMAGE"])},
        "valkey": {"image": _image(built["VALKEY_IMAGE"])},
    }


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag, "digest": ""}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
