"""A webhook that gives pods a second container that never ends, as service meshes do.

It runs in a pod of its own (`pod_program`), for the standard library alone.
"""

import base64
import json
import ssl
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8443
CONTAINER = "injected-proxy"


class _Injector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(length))["request"]
        patch = [{"op": "add", "path": "/spec/containers/-", "value": _beside(request["object"])}]
        response = {
            "uid": request["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        body = json.dumps({**review, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _beside(pod: dict[str, Any]) -> dict[str, Any]:
    (runner,) = pod["spec"]["containers"]
    alike = {name: runner[name] for name in ("image", "imagePullPolicy", "securityContext")}
    return {"name": CONTAINER, "command": ["sleep", "infinity"], **alike}


def main() -> None:
    """The argument is a certificate and its key, in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(sys.argv[1])
        file.flush()
        context.load_cert_chain(file.name)
    server = ThreadingHTTPServer(("", PORT), _Injector)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
