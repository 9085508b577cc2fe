"""The operator as a process of its own, as its pod runs it, so that it can be killed and frozen."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from chaos_freeze import Told, read_metrics
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from playground.forward import free_port
from playground.tools import ROOT

RESYNC_SECONDS = 1
# Short ones, so that a takeover takes no longer than a test may, and a leader on a busy machine
# renews its Lease in time all the same.
_TIMES = {
    "LEASE_SECONDS": "10",
    "LEASE_RENEW_DEADLINE_SECONDS": "7",
    "LEASE_RETRY_SECONDS": "0.3",
    "RESYNC_SECONDS": str(RESYNC_SECONDS),
    "PROGRESS_SECONDS": "0.1",
}
_START_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.05


class OperatorProcess:
    """One replica that serves the fake API server's namespace; `settings` are as in its pod."""

    def __init__(self, kubernetes: FakeKubernetes, folder: Path, **settings: str) -> None:
        name = f"operator-{uuid.uuid4()}"
        self._port = free_port()
        self._log = folder / f"{name}.log"
        self._environment = {
            **os.environ,
            # Each client would read all of the machine's certificates, for a server without TLS.
            "SSL_CERT_FILE": os.devnull,
            "SSL_CERT_DIR": os.devnull,
            "KUBECONFIG": str(kubernetes.write_kubeconfig(folder)),
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "crds")),
            **{
                f"BACKUPEXPORT_{key}": value
                for key, value in {
                    "NAMESPACE": NAMESPACE,
                    "RUNNER_IMAGE": "i",
                    "STORAGES": '{"default": {"volume": {"claim": "c"}}}',
                    # Nothing plays the kubelet for their Jobs.
                    "STORAGE_CHECKS": "false",
                    "POD_UID": name,
                    "HTTP_PORT": str(self._port),
                    **_TIMES,
                    **settings,
                }.items()
            },
        }
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Begin; where it ran before, as its container is started again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "backupexport_operator"],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def leading(self) -> Told:
        """What it tells of itself once it leads."""
        return await self._told_when(leads=True)

    async def standing_by(self) -> Told:
        """What it tells of itself once it doesn't lead."""
        return await self._told_when(leads=False)

    def signal(self, number: signal.Signals) -> None:
        """To the process; SIGKILL is waited for."""
        if self._process is None:
            return
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait()

    def end(self) -> None:
        """At once, however it is."""
        self.signal(signal.SIGKILL)

    async def _told_when(self, *, leads: bool) -> Told:
        try:
            async with asyncio.timeout(_START_SECONDS):
                while True:
                    told = await asyncio.to_thread(self._told)
                    if told is not None and told.leads is leads:
                        return told
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        except TimeoutError:
            raise AssertionError(self._log.read_text(encoding="utf-8")[-4000:]) from None

    def _told(self) -> Told | None:
        try:
            url = f"http://127.0.0.1:{self._port}/metrics"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return read_metrics(answer.read().decode())
        except OSError:
            return None
