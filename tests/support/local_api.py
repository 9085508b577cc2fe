"""The API as a process of this machine, on loopback, before the cluster's API server."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from caller_tokens import caller_token
from playground.forward import free_port
from playground.processes import running, wait_until_served
from playground.rest import Api

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
        return caller_token(self.secret, *projects)

    def caller(self, *projects: str) -> Api:
        """A caller of its own, for `projects` alone."""
        return Api(self.url, self.token(*projects))


@contextmanager
def local_api(
    namespace: str, folder: Path, changes: dict[str, str] | None = None
) -> Iterator[LocalApi]:
    """Serve `namespace` for as long as the context lasts; the log lies in `folder`.

    `changes` are environment variables.
    """
    port, secret, log = free_port(), secrets.token_urlsafe(48), folder / "api.log"
    settings = {
        "BACKUPEXPORT_NAMESPACE": namespace,
        "BACKUPEXPORT_HOST": "127.0.0.1",
        "BACKUPEXPORT_PORT": str(port),
        "BACKUPEXPORT_JWT_SECRET": secret,
        "BACKUPEXPORT_TOKENS_WITHOUT_PROJECTS": "none",
        "BACKUPEXPORT_EXPORT_RATE_LIMIT": _PLENTY,
        "BACKUPEXPORT_READ_RATE_LIMIT": _PLENTY,
        "BACKUPEXPORT_LOG_LEVEL": "debug",
        "BACKUPEXPORT_LOG_FORMAT": "json",
        **(changes or {}),
    }
    url = f"http://127.0.0.1:{port}"
    with running("-m", "backupexport_api", settings=settings, log=log) as process:
        wait_until_served(process, f"{url}/readyz", log)
        yield LocalApi(url, namespace, log, secret)
