"""What is measured: the API, the bare app that answers alike, a direct client, and a raw server."""

import json
import secrets
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import quote

import bare_app
from load_client import Callers
from measures import MeasurementError, blamed_on
from playground.forward import free_port
from playground.processes import running, wait_until_served
from playground.tools import ROOT
from processors import pinned

BENCH = ROOT / "bench"
LIST = "/api/jobs?limit=50"


class Servers:
    """All of them as processes on one processor, for as long as `stack` is open."""

    def __init__(
        self, stack: ExitStack, logs: Path, processor: int, namespaces: tuple[str, str, str]
    ) -> None:
        """`namespaces`: the API's, the direct client's, and one that is empty."""
        watched, unwatched, empty = namespaces
        self._stack, self._logs, self._processor = stack, logs, processor
        self._secret = secrets.token_urlsafe(48)
        self.api_port, self.raw_port, self.bare_port = free_port(), free_port(), free_port()
        self.api = self._serve(
            "api", self.api_port, "/readyz", watched, {}, "-m", "backupexport_api"
        )
        self._direct = self._start(
            "direct", {}, str(BENCH / "direct_create.py"), unwatched, is_asked=True
        )
        self._start("raw", {}, str(BENCH / "raw_server.py"), str(self.raw_port))
        self._serve_bare(empty)

    def callers(self, count: int) -> Callers:
        """Callers whose tokens the API takes."""
        return Callers(self._secret, count)

    def jobs(self) -> int:
        """How many jobs the API tells of, page by page."""
        count, cursor = 0, ""
        while True:
            page = json.loads(self._get(self.api_port, f"/api/jobs?limit=200{cursor}"))
            count += len(page["data"])
            if page["next_cursor"] is None:
                return count
            cursor = f"&cursor={quote(page['next_cursor'])}"

    def create(
        self, connections: int, manifests: list[dict[str, Any]]
    ) -> tuple[float, list[float]]:
        """Let the direct client create; how long it took, in all and each, in seconds."""
        stdin, stdout = self._direct.stdin, self._direct.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"connections": connections, "manifests": manifests}) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise MeasurementError((self._logs / "direct").read_text(encoding="utf-8"))
        told = json.loads(line)
        return told["seconds"], told["latencies"]

    def _serve_bare(self, empty: str) -> None:
        """Start the bare app, and see that its answers are the API's to the byte."""
        page = json.loads(self._get(self.api_port, f"{LIST}&status=completed"))
        paths = {"job": f"/api/jobs/{page['data'][0]['job_id']}", "list": LIST}
        answers = {kind: self._get(self.api_port, path) for kind, path in paths.items()}
        file = self._logs / "answers.json"
        file.write_text(json.dumps({kind: json.loads(text) for kind, text in answers.items()}))
        self._serve(
            "bare",
            self.bare_port,
            "/plain/api/jobs",
            empty,
            {bare_app.ANSWERS: str(file)},
            str(BENCH / "bare_app.py"),
        )
        for variant in bare_app.VARIANTS:
            for kind, path in paths.items():
                if self._get(self.bare_port, f"/{variant}{path}") != answers[kind]:
                    raise MeasurementError(
                        f"the bare app's {variant} {kind} is not what the API says"
                    )

    def _get(self, port: int, path: str) -> bytes:
        headers = self.callers(1).next_headers()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            text: bytes = response.read()
        return text

    def _serve(
        self,
        name: str,
        port: int,
        ready: str,
        namespace: str,
        settings: dict[str, str],
        *command: str,
    ) -> Popen[str]:
        base = {
            "BACKUPEXPORT_NAMESPACE": namespace,
            "BACKUPEXPORT_JWT_SECRET": self._secret,
            "BACKUPEXPORT_HOST": "127.0.0.1",
            "BACKUPEXPORT_PORT": str(port),
            # As in the cluster: the log is a part of the price.
            "BACKUPEXPORT_LOG_FORMAT": "json",
        }
        process = self._start(name, base | settings, *command)
        with blamed_on(name):
            wait_until_served(process, f"http://127.0.0.1:{port}{ready}", self._logs / name)
        return process

    def _start(
        self, name: str, settings: dict[str, str], *command: str, is_asked: bool = False
    ) -> Popen[str]:
        with pinned(self._processor):
            return self._stack.enter_context(
                running(*command, settings=settings, log=self._logs / name, is_asked=is_asked)
            )
