"""Where things are: one place for every path, address and version of the local cluster."""

import os
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]

NODE_NAME = "local"
NODE_ADDRESS = "10.244.0.1"
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
API_PORT = 6443
ETCD_PORT = 12379
ETCD_PEER_PORT = 12380
KUBELET_PORT = 10250
PROXY_PORTS = (10249, 10256)
SERVER = f"https://127.0.0.1:{API_PORT}"
KUBERNETES_VERSION = "1.34.4"
PAUSE_IMAGE = "docker.io/library/backupexport-pause:local"
PROVISIONER = "backupexport.dev/local-directories"


def cache_directory() -> Path:
    """Built and downloaded things, shared by every clone on the machine."""
    configured = os.environ.get("BACKUPEXPORT_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backupexport"


class State:
    """The running cluster's own files. One cluster a machine, so one fixed place."""

    def __init__(self, root: Path = Path("/var/lib/backupexport-cluster")) -> None:
        self.root = root
        self.pki = root / "pki"
        self.config = root / "config"
        self.logs = root / "logs"
        self.volumes = root / "volumes"
        self.record = root / "cluster.json"
        self.containerd_socket = root / "containerd.sock"


class Handle:
    """What a clone gets to use the cluster by: `.cluster/` in its root."""

    def __init__(self, root: Path = CLONE / ".cluster") -> None:
        self.root = root
        self.kubeconfig = root / "kubeconfig"
        self.bin = root / "bin"
