"""A pod that sends mail with Python's smtplib, and what the mail server answered it."""

import json
from dataclasses import dataclass
from typing import Any

from playground.mail_server import MailServer
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.tools import apply, images, kubectl, wait_for

_POD = "mail-client"

# Arguments on stdin, so that no password is in a command line.
_SEND = """
import json, smtplib, ssl, sys

wanted = json.load(sys.stdin)
trusted = ssl.create_default_context(cadata=wanted["authority"])
try:
    if wanted["tls"] == "tls":
        client = smtplib.SMTP_SSL(wanted["host"], wanted["port"], timeout=20, context=trusted)
    else:
        client = smtplib.SMTP(wanted["host"], wanted["port"], timeout=20)
    with client:
        if wanted["tls"] == "starttls":
            client.starttls(context=trusted)
        if wanted["login"]:
            client.login(*wanted["login"])
        client.sendmail("from@example.org", ["to@example.org"], wanted["mail"].encode())
except smtplib.SMTPResponseException as error:
    print(json.dumps({"code": error.smtp_code, "error": type(error).__name__}))
except (smtplib.SMTPException, OSError) as error:
    print(json.dumps({"code": None, "error": type(error).__name__}))
else:
    print(json.dumps({"code": 250, "error": None}))
"""


@dataclass(frozen=True)
class Outcome:
    """The code that the server answered with, and the client's error."""

    code: int | None
    error: str | None


def start_client(namespace: str) -> None:
    """The pod, in a namespace that takes only `restricted` ones."""
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": _POD, "namespace": namespace},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": POD_SECURITY,
                "containers": [
                    {
                        "name": "client",
                        "image": images()["RUNNER_IMAGE"],
                        "command": ["sleep", "infinity"],
                        "securityContext": CONTAINER_SECURITY,
                    }
                ],
            },
        }
    )
    kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{_POD}", "--timeout=240s")


def send(
    server: MailServer,
    mail: str,
    *,
    tls: str,
    login: tuple[str, str] | None,
    authority: str,
) -> Outcome:
    """Send from the pod; `tls` is starttls, tls or none."""
    wanted: dict[str, Any] = {
        "host": server.host,
        "port": server.tls_port if tls == "tls" else server.starttls_port,
        "tls": tls,
        "login": login,
        "authority": authority,
        "mail": mail,
    }
    told = kubectl(
        "-n", server.namespace, "exec", "-i", _POD, "--", "python3", "-c", _SEND,
        stdin=json.dumps(wanted), timeout=120,
    )  # fmt: skip
    return Outcome(**json.loads(told))


def start_and_reach(server: MailServer) -> None:
    """Start the server and wait until the pod reaches it."""
    server.start()

    def is_reached() -> bool:
        login, authority = server.login, server.authority
        return all(
            send(server, "", tls=tls, login=(login[0], ""), authority=authority).code == 535
            for tls in ("starttls", "tls")
        )

    wait_for(is_reached, "the pod to reach the mail server", 120)
