"""A cloud's metadata service for the pods of this machine's node, and for them alone.

It is a server in a network of its own, and a route to it that only packets from pods take: the
machine may need its own cloud's.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from local_cluster.layout import NODE_ADDRESS, POD_RANGE

ADDRESS = "169.254.169.254"
PORT = 80
_NAME = "bex-metadata"
_TABLE = "25416"
_RULE = f"from {POD_RANGE} to {ADDRESS} lookup {_TABLE}"
_MAKE = f"""
ip netns add {_NAME}
ip link add {_NAME} type veth peer name inside netns {_NAME}
ip address add {NODE_ADDRESS}/32 dev {_NAME}
ip link set {_NAME} up
ip route add {ADDRESS} dev {_NAME} table {_TABLE}
ip rule add {_RULE}
ip -n {_NAME} link set lo up
ip -n {_NAME} address add {ADDRESS}/32 dev inside
ip -n {_NAME} link set inside up
ip -n {_NAME} route add {NODE_ADDRESS} dev inside
ip -n {_NAME} route add default via {NODE_ADDRESS}
"""
# The table's route goes with its device.
_REMOVE = f"""
while ip rule delete {_RULE}; do :; done
ip link delete {_NAME}
ip netns delete {_NAME}
"""


@contextmanager
def metadata_service() -> Iterator[None]:
    """While it lasts, pods that may connect to ADDRESS reach PORT there."""
    _remove()
    try:
        subprocess.run(["sh", "-e", "-c", _MAKE], check=True)
        server = subprocess.Popen(
            ["ip", "netns", "exec", _NAME, "python3", "-c", _SERVER],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"listening\n"
            yield
        finally:
            server.kill()
            server.communicate()
    finally:
        _remove()


def _remove() -> None:
    """What is there of it, such as what a killed process left."""
    subprocess.run(["sh", "-c", _REMOVE], stderr=subprocess.DEVNULL, check=False)


_SERVER = f"""
import socket
listener = socket.create_server(("{ADDRESS}", {PORT}), backlog=100)
print("listening", flush=True)
while True:
    listener.accept()[0].close()
"""
