"""A mail server in a pod that keeps what it gets: STARTTLS, implicit TLS, and a login to both.

A process (cluster/mail) speaks only one of the two, so there is one for each in the pod; their
mail is read as one, through the API server, over their HTTP.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any

from playground.postgres import CONTAINER_SECURITY
from playground.server_pod import ServerPod
from playground.tools import get_raw, images, kubectl

STARTTLS_PORT = 587
TLS_PORT = 465
# Each kind's port of the Service, its ports in the pod for mail and for HTTP, and its options.
_KINDS: dict[str, tuple[int, int, int, tuple[str, ...]]] = {
    "starttls": (STARTTLS_PORT, 1587, 8587, ()),
    "tls": (TLS_PORT, 1465, 8465, ("--implicit-tls",)),
}
_TLS = "/tls"
_DATA = "/data"


@dataclass(frozen=True)
class Heading:
    """A mail in the list; `id` is the server's own, `message_id` the sender's."""

    id: str
    message_id: str
    created: str
    sender: str
    recipients: tuple[str, ...]
    subject: str


@dataclass(frozen=True)
class Message:
    """A mail as it came; `headers` maps names to all their values."""

    text: str
    html: str
    headers: dict[str, list[str]]
    raw: str


class MailServer(ServerPod):
    """A server named `name` in `namespace`; its mail outlives `stop` and the pod."""

    starttls_port = STARTTLS_PORT
    tls_port = TLS_PORT

    def __init__(self, namespace: str, name: str = "mail") -> None:
        super().__init__(namespace, name, f"{name}-tls")
        self.login_secret = f"{name}-login"

    @property
    def authority(self) -> str:
        """The PEM of the authority that a client has to trust."""
        return self._secret_value(self.tls_secret, "ca.crt")

    @property
    def login(self) -> tuple[str, str]:
        """User name and password, as in the Secret `login_secret`."""
        username, password = (
            self._secret_value(self.login_secret, key) for key in ("username", "password")
        )
        return username, password

    def start(self) -> None:
        """Create the server, or bring it back, and wait until it answers.

        Other pods reach its Service a moment later, when the nodes have heard of it.
        """
        deployment = self._deployment(
            [self._container(kind) for kind in _KINDS],
            [
                {"name": "tls", "secret": {"secretName": self.tls_secret}},
                {"name": "data", "persistentVolumeClaim": {"claimName": self.name}},
            ],
        )
        service = self._service(_service_ports())
        self._start({self.login_secret: self._login}, self._claim("100Mi"), service, deployment)

    def remove(self) -> None:
        """Remove the server and all its mail."""
        kubectl(
            "-n", self.namespace, "delete", "--ignore-not-found",
            f"deployment/{self.name}", f"service/{self.name}", f"pvc/{self.name}",
            f"secret/{self.login_secret}", f"secret/{self.tls_secret}",
        )  # fmt: skip
        self._wait_until_gone()

    def messages(self) -> list[Heading]:
        """All that has come, the oldest first."""
        found = [
            Heading(
                id=f"{kind}/{one['ID']}",
                message_id=one["MessageID"],
                created=one["Created"],
                sender=(one["From"] or {}).get("Address", ""),
                recipients=tuple(to["Address"] for to in one["To"] or ()),
                subject=one["Subject"],
            )
            for kind in _KINDS
            for one in json.loads(self._get(kind, "messages"))["messages"]
        ]
        return sorted(found, key=lambda one: one.created)

    def message(self, message: str) -> Message:
        """The mail with that `id`."""
        kind, _, name = message.partition("/")
        whole = json.loads(self._get(kind, f"message/{name}"))
        return Message(
            text=whole["Text"],
            html=whole["HTML"],
            headers=json.loads(self._get(kind, f"message/{name}/headers")),
            raw=self._get(kind, f"message/{name}/raw"),
        )

    def _get(self, kind: str, path: str) -> str:
        service = f"/api/v1/namespaces/{self.namespace}/services/http:{self.name}:http-{kind}"
        return get_raw(f"{service}/proxy/api/v1/{path}")

    def _login(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self._metadata(self.login_secret),
            "stringData": {"username": "backupexport", "password": secrets.token_urlsafe(24)},
        }

    def _container(self, kind: str) -> dict[str, Any]:
        _, smtp, http, options = _KINDS[kind]
        return {
            "name": kind,
            "image": images()["MAIL_IMAGE"],
            "args": [
                f"--smtp=[::]:{smtp}", f"--http=[::]:{http}", *options,
                f"--tls-cert={_TLS}/tls.crt", f"--tls-key={_TLS}/tls.key",
                f"--directory={_DATA}/{kind}",
            ],
            "env": [
                {
                    "name": f"LOGIN_{key.upper()}",
                    "valueFrom": {"secretKeyRef": {"name": self.login_secret, "key": key}},
                }
                for key in ("username", "password")
            ],
            "ports": [{"containerPort": smtp}, {"containerPort": http}],
            "readinessProbe": {
                "httpGet": {"path": "/readyz", "port": http},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
            },
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [
                {"name": "tls", "mountPath": _TLS, "readOnly": True},
                {"name": "data", "mountPath": _DATA},
            ],
        }  # fmt: skip


def _service_ports() -> list[dict[str, Any]]:
    ports: list[dict[str, Any]] = []
    for kind, (port, smtp, http, _) in _KINDS.items():
        ports += [
            {"name": f"smtp-{kind}", "port": port, "targetPort": smtp},
            {"name": f"http-{kind}", "port": http},
        ]
    return ports
