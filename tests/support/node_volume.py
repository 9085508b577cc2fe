"""A small file system as a PersistentVolume, where the node is the machine that tests run on."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground.tools import apply, get, kubectl

_RUNNERS_GROUP = 65532


def node_of_this_machine() -> str | None:
    """The one node's name, or None where it is another machine or this process is not root."""
    nodes = get("nodes")["items"]
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    if os.geteuid() != 0 or len(nodes) != 1 or nodes[0]["status"]["nodeInfo"]["bootID"] != boot_id:
        return None
    # A node in a container shares the boot id, not the files.
    address = next(
        one["address"] for one in nodes[0]["status"]["addresses"] if one["type"] == "InternalIP"
    )
    addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True)
    name: str = nodes[0]["metadata"]["name"]
    return name if address in addresses.stdout.split() else None


class SmallVolume:
    """A mounted file system of a fixed size, and the claim on it."""

    def __init__(self, root: Path, claim: str) -> None:
        self.root = root
        self.claim = claim

    def set_read_only(self, read_only: bool) -> None:
        """For everybody; a pod that mounted it read-only keeps it so."""
        _mount("-o", f"remount,{'ro' if read_only else 'rw'}", str(self.root))

    def files(self) -> list[str]:
        """All files, relative to the root."""
        return sorted(
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()
        )


@contextmanager
def small_volume(namespace: str, node: str, size: str) -> Iterator[SmallVolume]:
    """A volume of `size`, and a claim in `namespace` that is bound to it."""
    root = Path(tempfile.mkdtemp(prefix="backupexport-volume-"))
    options = f"size={size},mode=2775,gid={_RUNNERS_GROUP}"
    _mount("-t", "tmpfs", "-o", options, "exports-test", str(root))
    name = f"small-{namespace}"
    try:
        apply(*_manifests(namespace, node, name, root))
        yield SmallVolume(root, name)
    finally:
        kubectl("delete", "pv", name, "--wait=false")
        # The kernel keeps it for a pod that still has it.
        subprocess.run(["umount", str(root)], check=True)
        root.rmdir()


def _manifests(namespace: str, node: str, name: str, root: Path) -> list[dict[str, Any]]:
    common = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
    }
    on_the_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                **common,
                "capacity": {"storage": "1Mi"},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": namespace, "name": name},
                "local": {"path": str(root)},
                "nodeAffinity": {
                    "required": {"nodeSelectorTerms": [{"matchExpressions": [on_the_node]}]}
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                **common,
                "volumeName": name,
                "resources": {"requests": {"storage": "1Mi"}},
            },
        },
    ]


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)
