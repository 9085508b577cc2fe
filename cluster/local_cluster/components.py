"""The programs of the native cluster and their command lines."""

from pathlib import Path

from .layout import (
    API_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    NODE_ADDRESS,
    NODE_NAME,
    PROVISIONER,
    SERVICE_RANGE,
    State,
)

# Only what is not a part of the control plane can wait for the API server.
FIRST = ("etcd", "containerd", "kube-apiserver")
THEN = (
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "provisioner",
)
ALL = FIRST + THEN
# Not etcd: it runs without fsync, and what it loses nobody brings back.
CRASHABLE = tuple(name for name in ALL if name != "etcd")

# A second.  By default it is 20, at which making and removing 300 pods takes minutes; a limit is
# for a large cluster's sake.
_REQUESTS = ("--kube-api-qps=500", "--kube-api-burst=1000")


def command_lines(state: State, node_binary: Path) -> dict[str, list[str]]:
    """Program to its argv; the same for the same state folder and binary."""

    def pki(name: str) -> str:
        return str(state.pki / name)

    def config(name: str) -> str:
        return str(state.config / name)

    def kubeconfig(program: str) -> str:
        return "--kubeconfig=" + config(f"{program}.kubeconfig")

    etcd = f"https://127.0.0.1:{ETCD_PORT}"
    peer = f"https://127.0.0.1:{ETCD_PEER_PORT}"
    arguments: dict[str, list[str]] = {
        "etcd": [
            f"--name={NODE_NAME}",
            f"--data-dir={state.root / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={NODE_NAME}={peer}",
            *(
                f"--{prefix}{flag}"
                for prefix in ("", "peer-")
                for flag in (
                    f"cert-file={pki('etcd.crt')}",
                    f"key-file={pki('etcd.key')}",
                    f"trusted-ca-file={pki('ca.crt')}",
                    "client-cert-auth",
                )
            ),
            # The data need to survive a killed process, not a power cut.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            f"--advertise-address={NODE_ADDRESS}",
            "--bind-address=0.0.0.0",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            f"--authentication-config={config('authentication.json')}",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
            f"--cert-dir={state.pki}",
            f"--client-ca-file={pki('ca.crt')}",
            f"--tls-cert-file={pki('apiserver.crt')}",
            f"--tls-private-key-file={pki('apiserver.key')}",
            f"--etcd-servers={etcd}",
            f"--etcd-cafile={pki('ca.crt')}",
            f"--etcd-certfile={pki('etcd.crt')}",
            f"--etcd-keyfile={pki('etcd.key')}",
            f"--kubelet-certificate-authority={pki('ca.crt')}",
            f"--kubelet-client-certificate={pki('apiserver-client.crt')}",
            f"--kubelet-client-key={pki('apiserver-client.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki('service-account.pub')}",
            f"--service-account-signing-key-file={pki('service-account.key')}",
        ],
        "kube-controller-manager": [
            kubeconfig("kube-controller-manager"),
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki('service-account.key')}",
            f"--root-ca-file={pki('ca.crt')}",
            f"--cluster-signing-cert-file={pki('ca.crt')}",
            f"--cluster-signing-key-file={pki('ca.key')}",
            *_REQUESTS,
        ],
        "kube-scheduler": [
            kubeconfig("kube-scheduler"),
            *_REQUESTS,
            "--leader-elect=false",
            "--secure-port=0",
        ],
        "kubelet": [
            kubeconfig("kubelet"),
            f"--config={config('kubelet.json')}",
            f"--root-dir={state.root / 'kubelet'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ],
        "kube-proxy": [f"--config={config('proxy.json')}"],
        "coredns": ["-conf", config("Corefile")],
        "provisioner": [
            kubeconfig("provisioner"),
            f"--name={PROVISIONER}",
            f"--node={NODE_NAME}",
            f"--root={state.volumes}",
        ],
    }
    lines = {name: [str(node_binary), name, *words] for name, words in arguments.items()}
    lines["containerd"] = ["/usr/bin/containerd", f"--config={config('containerd.toml')}"]
    return lines
