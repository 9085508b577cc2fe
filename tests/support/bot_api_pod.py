"""The tests' Bot API server in a pod, and what has come to it."""

import json
from pathlib import Path
from typing import Any

import bot_api_server
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.tools import apply, get_raw, images, kubectl

TOKEN = "123456789:of-the-tests_0000000000000000000000"
CHAT = "-1001234567890"
SECRET = "telegram-bot"
_NAME = "bot-api"
_PORT = 8081
_DOCUMENTS = "/documents"

_JOIN = """
import hashlib, sys
whole = hashlib.sha256()
for digest in sys.argv[1:]:
    with open(f"/documents/{digest}", "rb") as part:
        while piece := part.read(1 << 20):
            whole.update(piece)
print(whole.hexdigest())
"""


class BotApiPod:
    """One server in `namespace`, and the Secret that a delivery needs."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.url = f"http://{_NAME}.{namespace}.svc:{_PORT}"

    def start(self, largest: int = 50_000_000) -> None:
        """Create all of it and wait until it listens."""
        apply(self._secret(), self._service(), self._pod(largest))
        kubectl(
            "-n", self.namespace, "wait", "--for=condition=Ready", f"pod/{_NAME}", "--timeout=240s"
        )

    def settings(self, **more: Any) -> dict[str, Any]:
        """What an ExportTarget's deliveries.telegram has to hold."""
        return {"apiUrl": self.url, "secretRef": {"name": SECRET}, **more}

    def script(self, *steps: dict[str, Any]) -> None:
        """What the next requests come to."""
        self._post("script", list(steps))

    def forget(self) -> None:
        """Forget what has come, and the script."""
        self._post("forget", {})

    def received(self) -> list[dict[str, Any]]:
        """Documents and messages in the order in which they came."""
        text = get_raw(f"{self._proxy}/control/received")
        found: list[dict[str, Any]] = json.loads(text)
        return found

    def documents(self, name: str) -> list[dict[str, Any]]:
        """Documents whose file name has `name` in it."""
        return [one for one in self.received() if name in one.get("name", "")]

    def joined_sha256(self, documents: list[dict[str, Any]]) -> str:
        """The SHA-256 of the documents one behind the other."""
        digests = [document["sha256"] for document in documents]
        return kubectl(
            "-n", self.namespace, "exec", _NAME, "--", "python3", "-c", _JOIN, *digests
        ).strip()

    @property
    def _proxy(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/services/http:{_NAME}:http/proxy"

    def _post(self, what: str, body: Any) -> None:
        kubectl(
            "create", "--raw", f"{self._proxy}/control/{what}", "-f", "-", stdin=json.dumps(body)
        )

    def _secret(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": self.namespace},
            "stringData": {"token": TOKEN, "chat_id": CHAT},
        }

    def _service(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": _NAME, "namespace": self.namespace},
            "spec": {
                "selector": {"app.kubernetes.io/name": _NAME},
                "ports": [{"name": "http", "port": _PORT}],
            },
        }

    def _pod(self, largest: int) -> dict[str, Any]:
        program = Path(bot_api_server.__file__).read_text(encoding="utf-8")
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": _NAME,
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/name": _NAME},
            },
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {**POD_SECURITY, "fsGroup": 65532},
                "containers": [
                    {
                        "name": "server",
                        "image": images()["RUNNER_IMAGE"],
                        "command": ["python3", "-c", program],
                        "args": [
                            "--token", TOKEN, "--chat", CHAT, "--port", str(_PORT),
                            "--largest", str(largest), "--keep", _DOCUMENTS,
                        ],
                        "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1},
                        "securityContext": CONTAINER_SECURITY,
                        "volumeMounts": [{"name": "documents", "mountPath": _DOCUMENTS}],
                    }
                ],
                "volumes": [{"name": "documents", "emptyDir": {}}],
            },
        }  # fmt: skip
