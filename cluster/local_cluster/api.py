"""The few calls to the cluster's API server that starting it takes, without a kubectl process."""

import json
import ssl
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from .layout import NODE_NAME, PROXY_PORTS, SERVER, State

# A proxy from the environment must not get between two processes of one machine.
_NO_PROXY = urllib.request.ProxyHandler({})


class Api:
    """The administrator's view of the API server."""

    def __init__(self, state: State) -> None:
        context = ssl.create_default_context(cafile=str(state.pki / "ca.crt"))
        context.load_cert_chain(state.pki / "admin.crt", state.pki / "admin.key")
        self._opener = urllib.request.build_opener(
            _NO_PROXY, urllib.request.HTTPSHandler(context=context)
        )

    def get(self, path: str) -> bytes | None:
        """Return the answer, or None for any sort of failure."""
        try:
            with self._opener.open(SERVER + path, timeout=3) as answer:
                return bytes(answer.read())
        except OSError:
            return None

    def apply(self, path: str, manifest: dict[str, Any]) -> None:
        """Create an object or change what of it differs."""
        request = urllib.request.Request(
            f"{SERVER}{path}?fieldManager=local-cluster&force=true",
            data=json.dumps(manifest).encode(),
            headers={"Content-Type": "application/apply-patch+yaml"},
            method="PATCH",
        )
        with self._opener.open(request, timeout=10):
            pass

    def ready(self) -> bool:
        """Whether the API server serves."""
        return self.get("/readyz") is not None

    def node_ready(self, since: float = 0) -> bool:
        """Whether the kubelet says so, in words of its own from after `since`."""
        node = self.get(f"/api/v1/nodes/{NODE_NAME}")
        if node is None:
            return False
        return any(
            condition["type"] == "Ready"
            and condition["status"] == "True"
            and datetime.fromisoformat(condition["lastHeartbeatTime"]).timestamp() >= int(since)
            for condition in json.loads(node)["status"].get("conditions", [])
        )

    def default_account_ready(self) -> bool:
        """Whether pods can be made in the default namespace."""
        # Pods are refused before the namespace's service account exists.
        return self.get("/api/v1/namespaces/default/serviceaccounts/default") is not None


def services_ready() -> bool:
    """Whether kube-proxy has written its rules."""
    opener = urllib.request.build_opener(_NO_PROXY)
    try:
        with opener.open(f"http://127.0.0.1:{PROXY_PORTS[1]}/healthz", timeout=3):
            return True
    except OSError:
        return False
