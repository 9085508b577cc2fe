"""The whole api as a process: its two ports, its end, and clients without a token."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import builders
import hostile_clients
import httpx
import jwt
import pytest
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from playground.forward import free_port
from playground.tools import ROOT

SECRET = "the-secret-of-the-tests-" + "0123456789abcdef" * 2


@dataclass(frozen=True)
class Running:
    """The process."""

    process: asyncio.subprocess.Process
    url: str
    health_url: str
    log: Path


@pytest.fixture
async def running(kubernetes: FakeKubernetes, tmp_path: Path) -> AsyncIterator[Running]:
    """The api over the fake Kubernetes API."""
    kubernetes.seed("exporttargets", builders.target_manifest("proj-123"))
    port, health_port = free_port(), free_port()
    settings = {
        "NAMESPACE": NAMESPACE,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "HEALTH_PORT": str(health_port),
        "JWT_SECRET": SECRET,
        "DRAIN_SECONDS": "0",
        "REQUEST_HEAD_SECONDS": "2",
    }
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("api", "crds")),
        **{f"BACKUPEXPORT_{name}": value for name, value in settings.items()},
    }
    log = tmp_path / "api.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "backupexport_api", env=environment, stderr=file
        )
    it = Running(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{health_port}", log)
    try:
        async with asyncio.timeout(60), plain_client() as client:
            while not await is_ready(client, it.health_url):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.1)
        yield it
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def plain_client() -> httpx.AsyncClient:
    """A client that reads none of the machine's certificates."""
    return httpx.AsyncClient(verify=False, timeout=20)


async def is_ready(client: httpx.AsyncClient, url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await client.get(f"{url}/readyz")).status_code == 200
    return False


async def test_probes_are_answered_on_both_ports_until_the_end(running: Running) -> None:
    async with plain_client() as client:
        for url in (running.url, running.health_url):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await client.get(url + path)).status_code == 200
        assert (await client.get(f"{running.health_url}/docs")).status_code == 404
    running.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await running.process.wait() == 0, running.log.read_text()


async def test_a_caller_is_served_among_hostile_clients(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, hostile_clients.__file__, "127.0.0.1"),
        *(running.url.rpartition(":")[2], "1000"),
        stdout=asyncio.subprocess.PIPE,
    )
    claims = {"sub": "alice", "exp": int(time.time()) + 600, "projects": ["proj-123"]}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}
    seconds = []
    try:
        assert attacker.stdout is not None
        async with asyncio.timeout(60):
            assert hostile_clients.AT_WORK.encode() in await attacker.stdout.readline()
        for _ in range(5):
            async with plain_client() as client:
                started = time.monotonic()
                answer = await client.post(
                    f"{running.url}/api/backup/export",
                    json={"project_id": "proj-123"},
                    headers=headers,
                )
                seconds.append(time.monotonic() - started)
                assert answer.status_code == 202
                assert (await client.get(f"{running.health_url}/readyz")).status_code == 200
    finally:
        attacker.kill()
        await attacker.wait()
    with capsys.disabled():
        sys.stdout.write(f"\namong hostile clients: {seconds} s\n")
    # The median: this machine may be busy with other things.
    assert sorted(seconds)[2] < 1
