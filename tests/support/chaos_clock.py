"""A node whose clock is a day behind, for a time.

The cluster's node is this machine, whose clock everybody shares: what can be wrong without harm to
others is the node's report.  The API server asks this process about each status of a runner's pod
in the run's namespace, and while the clock is set back, the times that are new in it go back by a
day, for everybody who reads them, and stay so.
"""

import base64
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from backupexport_contract import timestamps
from chaos_faults import LastingBlow, Outcome
from chaos_schedule import Fault, Manner, Strike
from playground.certificates import server_certificate
from playground.tools import apply, get, kubectl

_DAY = timedelta(days=1)
_LABEL = "backupexport.dev/chaos-namespace"
_KIND = "mutatingwebhookconfigurations"


class Clock:
    """Which reported times are wrong: those that were told first while it is set back."""

    def __init__(self) -> None:
        self._is_back = False
        self._known: dict[tuple[str, str, str], bool] = {}

    @property
    def lasting(self) -> dict[Fault, LastingBlow]:
        """What is mended after a time."""
        return {Fault("clock", Manner.SET_BACK): self._set_back}

    @property
    def wrong(self) -> int:
        """How many times were reported wrongly."""
        return sum(self._known.values())

    def patch(self, pod: dict[str, Any]) -> list[dict[str, Any]]:
        """The JSON patch (RFC 6902) that makes of the pod's status what such a node reports."""
        changes = []
        for number, container in enumerate(pod.get("status", {}).get("containerStatuses", [])):
            for state, told in container.get("state", {}).items():
                for field in ("startedAt", "finishedAt"):
                    if not (text := told.get(field)):
                        continue
                    key = (pod["metadata"]["uid"], field, text)
                    # A node says it again and again, also when its clock is right.
                    if self._known.setdefault(key, self._is_back):
                        # Whoever writes the status again writes what it has read.
                        self._known[(*key[:2], _back(text))] = False
                        path = f"/status/containerStatuses/{number}/state/{state}/{field}"
                        changes.append({"op": "replace", "path": path, "value": _back(text)})
        return changes

    def set_back(self, is_back: bool) -> None:
        """From now on."""
        self._is_back = is_back

    def _set_back(self, strike: Strike) -> Outcome:
        before = self.wrong
        self.set_back(True)
        time.sleep(strike.seconds)
        self.set_back(False)
        told = f"{self.wrong - before} times, for {strike.seconds:.0f} s"
        return Outcome(told, had_effect=self.wrong > before)


@contextmanager
def reported_by(clock: Clock, namespace: str) -> Iterator[None]:
    """Have the API server ask `clock` about the runners' pods of the namespace."""
    certificate = server_certificate([])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "server.pem")
        file.write_text(certificate.certificate + certificate.key, encoding="ascii")
        context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(clock))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="clock", daemon=True)
    thread.start()
    _remove_left_ones()
    url = f"https://127.0.0.1:{server.server_address[1]}/"
    apply(_configuration(namespace, url, certificate.authority))
    try:
        yield
    finally:
        kubectl("delete", _KIND, namespace, "--ignore-not-found")
        server.shutdown()
        server.server_close()
        thread.join()


def reviewed(review: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """The answer to an AdmissionReview of admission.k8s.io/v1: it is allowed, with a patch."""
    request = review["request"]
    changes = json.dumps(clock.patch(request["object"])).encode()
    response = {
        "uid": request["uid"],
        "allowed": True,
        "patchType": "JSONPatch",
        "patch": base64.b64encode(changes).decode(),
    }
    return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}


def _back(text: str) -> str:
    moment = timestamps.from_text(text) - _DAY
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _handler(clock: Clock) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(reviewed(review, clock)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base has it
            pass

    return Handler


def _remove_left_ones() -> None:
    """They are the whole cluster's, so that of a run which was killed stays."""
    there = {namespace["metadata"]["name"] for namespace in get("namespaces")["items"]}
    for found in get(_KIND, "-l", _LABEL)["items"]:
        if found["metadata"]["labels"][_LABEL] not in there:
            kubectl("delete", _KIND, found["metadata"]["name"], "--ignore-not-found")


def _configuration(namespace: str, url: str, authority: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": namespace, "labels": {_LABEL: namespace}},
        "webhooks": [
            {
                "name": "clock.backupexport.dev",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "url": url,
                    "caBundle": base64.b64encode(authority.encode()).decode(),
                },
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["pods/status"],
                        "operations": ["UPDATE"],
                        "scope": "Namespaced",
                    }
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "objectSelector": {"matchLabels": {"app.kubernetes.io/component": "runner"}},
                # A run that was killed must not hold up anybody's pods.
                "failurePolicy": "Ignore",
                "timeoutSeconds": 2,
                "sideEffects": "None",
            }
        ],
    }
