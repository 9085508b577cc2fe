"""The API as a process of this machine, on loopback, before the cluster's API server."""

import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
from playground.forward import free_port
from playground.rest import Api
from playground.tools import ROOT, environment, wait_for

_PLENTY = "1000000/minute"


@dataclass(frozen=True)
class LocalApi:
    """A process that serves `namespace` and takes no account of how often it is asked."""

    url: str
    namespace: str
    log: Path
    secret: str

    def token(self, *projects: str) -> str:
        """A token of a caller of its own, for `projects` alone."""
        claims = {
            "sub": f"test-{secrets.token_hex(4)}",
            "exp": int(time.time()) + 24 * 3600,
            "projects": list(projects),
        }
        return jwt.encode(claims, self.secret, "HS256")

    def caller(self, *projects: str) -> Api:
        """A caller of its own, for `projects` alone."""
        return Api(self.url, self.token(*projects))


@contextmanager
def local_api(namespace: str, folder: Path) -> Iterator[LocalApi]:
    """Serve `namespace` for as long as the context lasts; the log lies in `folder`."""
    port, secret, log = free_port(), secrets.token_urlsafe(48), folder / "api.log"
    ours = {
        "NAMESPACE": namespace,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "JWT_SECRET": secret,
        "TOKENS_WITHOUT_PROJECTS": "none",
        "EXPORT_RATE_LIMIT": _PLENTY,
        "READ_RATE_LIMIT": _PLENTY,
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
    }
    variables = {
        name: value
        for name, value in environment().items()
        if not name.startswith(("BACKUPEXPORT_", "KUBERNETES_"))
    }
    variables |= {f"BACKUPEXPORT_{name}": value for name, value in ours.items()}
    variables["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in ("api", "crds"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "backupexport_api"],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _is_ready(process, url, log), f"an answer from {url}/readyz", 30)
        yield LocalApi(url, namespace, log, secret)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the API ended: {log.read_text(encoding='utf-8')}")
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
