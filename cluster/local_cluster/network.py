"""The machine's part of the cluster's network, and taking all of it back.

Pods hang on routed veth pairs (the CNI plugin `ptp`), so Services need neither a bridge nor the
br_netfilter module. The node's address sits on the loopback device: it is there before any pod,
and stays the same whatever network the machine is moved to.
"""

import socket
import subprocess
from pathlib import Path

from .errors import ClusterError
from .layout import (
    API_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    KUBELET_PORT,
    NODE_ADDRESS,
    POD_RANGE,
    PROXY_PORTS,
)
from .progress import quiet

TABLE = "backupexport-cluster"
# Written by us or by the kubelet; the values from before are put back by `down`.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)

# Pods reach the world with the machine's address; the world does not reach the API server.
RULES = f"""
add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {POD_RANGE} ip daddr != {POD_RANGE} fib daddr type != local masquerade
  }}
  chain arriving {{
    type filter hook input priority filter; policy accept;
    iifname != "lo" ip saddr != {POD_RANGE} tcp dport {API_PORT} drop
  }}
}}
"""


def read_sysctls() -> dict[str, str]:
    """Note the values from before the cluster."""
    found = {}
    for name in SYSCTLS:
        path = Path("/proc/sys") / name
        if path.is_file():
            found[name] = path.read_text().strip()
    return found


def write_sysctls(values: dict[str, str]) -> None:
    """Put noted values back."""
    for name, value in values.items():
        try:
            (Path("/proc/sys") / name).write_text(value)
        except OSError:
            continue


def _run(*argv: str, text: str | None = None) -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _forward_rules() -> list[list[str]]:
    mark = ["-m", "comment", "--comment", TABLE, "-j", "ACCEPT"]
    return [["FORWARD", flag, POD_RANGE, *mark] for flag in ("-s", "-d")]


def set_up() -> None:
    """Safe to repeat."""
    _run("ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _run("nft", "-f", "-", text=RULES)
    # A Docker engine on the machine closes FORWARD for everything but its own containers.
    if "-P FORWARD DROP" in quiet(["iptables", "-S", "FORWARD"]).stdout:
        for rule in _forward_rules():
            if quiet(["iptables", "-C", *rule]).returncode != 0:
                _run("iptables", "-I", *rule)


def tear_down() -> None:
    """Safe to repeat, and where nothing was set up."""
    quiet(["ip", "address", "del", f"{NODE_ADDRESS}/32", "dev", "lo"])
    for family, table in (("inet", TABLE), ("ip", "kube-proxy"), ("ip6", "kube-proxy")):
        quiet(["nft", "delete", "table", family, table])
    if TABLE in quiet(["iptables", "-S", "FORWARD"]).stdout:
        for rule in _forward_rules():
            quiet(["iptables", "-D", *rule])


def check_ports_free() -> None:
    """Say who is in the way, before a program dies of it."""
    wanted = [
        ("0.0.0.0", API_PORT),
        ("127.0.0.1", ETCD_PORT),
        ("127.0.0.1", ETCD_PEER_PORT),
        (NODE_ADDRESS, KUBELET_PORT),
        (NODE_ADDRESS, 53),
        *(("127.0.0.1", port) for port in PROXY_PORTS),
    ]
    taken = []
    for address, port in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                taken.append(f"{address}:{port}")
    if taken:
        raise ClusterError(
            f"Another program listens on {', '.join(taken)} (see `ss -ltnp`). Is there another "
            "Kubernetes on this machine? To use that one: CLUSTER=current."
        )
