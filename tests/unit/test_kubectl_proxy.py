"""How demo and tests ask the API server, without one: kinds by name, and kubectl's words."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playground import tools
from playground.kinds import Kind, kinds_by_name
from playground.kubectl_proxy import KubectlProxy

_EVENTS = {
    "resource": "events",
    "responseKind": {"kind": "Event"},
    "scope": "Namespaced",
    "singularResource": "event",
    "shortNames": ["ev"],
}
_NODES = {"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster"}
CORE = {
    "items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [_EVENTS, _NODES]}]}]
}
GROUPS = {
    "items": [
        {
            "metadata": {"name": "events.k8s.io"},
            "versions": [
                {"version": "v1", "resources": [_EVENTS]},
                {"version": "v1beta1", "resources": [_EVENTS]},
            ],
        }
    ]
}
# What a server would say to the paths of these tests, one request after the other.
_KUBECTL = f"""#!{sys.executable}
import http.server, json, os, socketserver, sys

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/gone":
            os._exit(0)
        if self.path == "/missing":
            told = {{"reason": "NotFound", "message": 'pods "a" not found'}}
            status, body = 404, json.dumps(told)
        elif self.path == "/away":
            status, body = 502, "dial tcp: connection refused"
        else:
            status, body = 200, f"{{self.path}} by {{os.getpid()}}"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def address_string(self):
        return "a socket"

    def log_message(self, *arguments):
        pass

assert sys.argv[1] == "proxy"
path = sys.argv[2].removeprefix("--unix-socket=")
with socketserver.UnixStreamServer(path, Answer) as server:
    print("Starting to serve on", path, flush=True)
    server.serve_forever()
"""


PODS = Kind("v1", "pods", is_namespaced=True)
NODES = Kind("v1", "nodes", is_namespaced=False)
JOBS = Kind("batch/v1", "jobs", is_namespaced=True)
CORE_EVENTS = Kind("v1", "events", is_namespaced=True)
EVENTS = Kind("events.k8s.io/v1", "events", is_namespaced=True)
OLD_EVENTS = EVENTS._replace(version="events.k8s.io/v1beta1")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("events", CORE_EVENTS),
        ("event", CORE_EVENTS),
        ("ev", CORE_EVENTS),
        ("events.events.k8s.io", EVENTS),
        ("events.k8s.io/v1beta1/Event", OLD_EVENTS),
        ("v1/Node", NODES),
    ],
)
def test_kubectls_names_of_a_kind(name: str, kind: Kind) -> None:
    assert kinds_by_name(CORE, GROUPS)[name] == kind


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "path"),
    [
        (PODS, "n", "a", "/api/v1/namespaces/n/pods/a"),
        (PODS, None, None, "/api/v1/pods"),
        (NODES, "n", "a", "/api/v1/nodes/a"),
        (JOBS, "n", None, "/apis/batch/v1/namespaces/n/jobs"),
    ],
)
def test_where_objects_are(kind: Kind, namespace: str | None, name: str | None, path: str) -> None:
    assert kind.path(namespace, name) == path


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubectlProxy]:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(_KUBECTL, encoding="utf-8")
    kubectl.chmod(0o755)
    proxy = KubectlProxy(kubectl, {})
    monkeypatch.setattr(tools, "_proxy", lambda: proxy)
    yield proxy
    proxy.stop()


def test_one_kubectl_answers_all_requests(proxy: KubectlProxy) -> None:
    first, second = (tools.get_raw("/readyz") for _ in range(2))
    assert first.startswith("/readyz by ")
    assert first == second


def test_a_refusal_is_told_in_kubectls_words(proxy: KubectlProxy) -> None:
    refusal = r'Error from server \(NotFound\): pods "a" not found'
    with pytest.raises(tools.ToolError, match=refusal):
        tools.get_raw("/missing")
    with pytest.raises(tools.ToolError, match="502 dial tcp: connection refused"):
        tools.get_raw("/away")
    # The connection goes on.
    assert tools.get_raw("/readyz").startswith("/readyz")


def test_no_answer_is_told_too(proxy: KubectlProxy) -> None:
    with pytest.raises(tools.ToolError, match="through kubectl proxy"):
        tools.get_raw("/gone")


def test_a_kubectl_that_serves_nothing_is_told(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho error: no such cluster\n", encoding="utf-8")
    kubectl.chmod(0o755)
    with pytest.raises(ConnectionError, match="error: no such cluster"):
        KubectlProxy(kubectl, {}).request("GET", "/readyz")
