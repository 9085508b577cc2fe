"""The configuration files of the native cluster's programs."""

import base64
import json
from typing import Any

from .layout import (
    NODE_ADDRESS,
    NODE_NAME,
    PAUSE_IMAGE,
    POD_RANGE,
    PROXY_PORTS,
    SERVER,
    State,
)

# Program to the name of its certificate.
_CLIENTS = {
    "kube-controller-manager": "controller-manager",
    "kube-scheduler": "scheduler",
    "kubelet": "kubelet",
    "kube-proxy": "proxy",
    "coredns": "coredns",
    "provisioner": "provisioner",
}


def kubeconfig(state: State, client: str) -> str:
    """Give a client its own identity, everything in one file."""

    def data(name: str) -> str:
        return base64.b64encode((state.pki / name).read_bytes()).decode()

    return f"""apiVersion: v1
kind: Config
current-context: local
contexts:
- name: local
  context: {{cluster: local, user: {client}}}
clusters:
- name: local
  cluster:
    server: {SERVER}
    certificate-authority-data: {data("ca.crt")}
users:
- name: {client}
  user:
    client-certificate-data: {data(f"{client}.crt")}
    client-key-data: {data(f"{client}.key")}
"""


def plain_files(state: State, resolv_conf: str) -> dict[str, str]:
    """Name to content. JSON is YAML too, so no YAML has to be written."""
    structured: dict[str, dict[str, Any]] = {
        "authentication.json": _authentication(),
        "kubelet.json": _kubelet(state),
        "proxy.json": _proxy(state),
        "cni/10-local.conflist": _cni(state),
    }
    files = {name: json.dumps(content, indent=2) for name, content in structured.items()}
    files["containerd.toml"] = _containerd(state)
    files["Corefile"] = _corefile(state, resolv_conf)
    return files


def kubeconfigs(state: State) -> dict[str, str]:
    """Name to content, with the keys from the state folder in them."""
    return {
        f"{program}.kubeconfig": kubeconfig(state, client) for program, client in _CLIENTS.items()
    }


def _authentication() -> dict[str, Any]:
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {
            "enabled": True,
            "conditions": [{"path": f"/{name}"} for name in ("livez", "readyz", "healthz")],
        },
    }


def _kubelet(state: State) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(state.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
        "tlsCertFile": str(state.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(state.pki / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{state.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "podLogsDir": str(state.logs / "pods"),
        "volumePluginDir": str(state.root / "volume-plugins"),
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "maxPods": 250,
        # A laptop's nearly full disk is no reason to throw pods or our images out.
        "evictionHard": {
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
    }


def _proxy(state: State) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": POD_RANGE,
        "clientConnection": {"kubeconfig": str(state.config / "kube-proxy.kubeconfig")},
        "metricsBindAddress": f"127.0.0.1:{PROXY_PORTS[0]}",
        "healthzBindAddress": f"127.0.0.1:{PROXY_PORTS[1]}",
        # Leave the machine's own connection tracking limits as they are.
        "conntrack": {
            "maxPerCore": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def _cni(state: State) -> dict[str, Any]:
    return {
        "cniVersion": "0.4.0",
        "name": "local",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(state.root / "addresses"),
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def _containerd(state: State) -> str:
    return f"""version = 2
root = "{state.root}/containerd"
state = "{state.root}/run"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{state.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{state.root}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # A machine may lack CAP_SYS_RESOURCE; runc would die of a negative score.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state.config}/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def _corefile(state: State, resolv_conf: str) -> str:
    has_upstream = any(line.split()[:1] == ["nameserver"] for line in resolv_conf.splitlines())
    forward = "    forward . /etc/resolv.conf\n" if has_upstream else ""
    return f""".:53 {{
    bind {NODE_ADDRESS}
    errors
    cache 10
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {state.config}/coredns.kubeconfig
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
{forward}}}
"""
