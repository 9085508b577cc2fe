"""The whole api as a process: its ports, its end, clients without a token, files in buckets."""

import asyncio
import contextlib
import json
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
from debian_programs import require_programs
from exported_files import another_id, export
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from playground.forward import free_port
from playground.s3_server import KeyPair
from playground.tools import ROOT
from s3_client import Bucket
from s3_faults import CUT, Fault, FaultProxy
from s3_server import S3Server

# Of `export`, whose file's name tells it.
CREATED = "2026-01-29T15:30:00Z"
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
    async with serving(tmp_path) as it:
        yield it


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, **changes: str) -> AsyncIterator[Running]:
    """The process; `changes` are settings of its own."""
    port, health_port = free_port(), free_port()
    settings = {
        "NAMESPACE": NAMESPACE,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "HEALTH_PORT": str(health_port),
        "JWT_SECRET": SECRET,
        "DRAIN_SECONDS": "0",
        "REQUEST_HEAD_SECONDS": "2",
        **changes,
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
    assert sorted(seconds)[2] < 5


async def test_curl_gets_a_file_from_a_bucket_and_goes_on_after_a_cut(
    kubernetes: FakeKubernetes,
    s3_server: S3Server,
    s3_bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By redirect and through the api, with the commands that docs/exports.md prints."""
    # A bucket's client is not made where it would trust nobody.
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name)
    content = os.urandom(3_000_000)
    kubernetes.seed("exporttargets", builders.target_manifest("proj-123"))
    with FaultProxy(s3_server.url) as network:
        storages = {}
        for name, downloads in (("redirected", "redirect"), ("streamed", "stream")):
            made = export(tmp_path / "made", content, job_id=another_id())
            artifact = made.status["artifact"]
            s3_bucket.put(f"{name}/{artifact['path']}", content)
            artifact |= {"url": f"s3://{s3_bucket.name}/{name}/{artifact['path']}"}
            artifact |= {"endpoint": network.url}
            resource = {**made.manifest, "status": made.status}
            resource["metadata"] |= {"namespace": NAMESPACE, "creationTimestamp": CREATED}
            kubernetes.seed("backupexports", resource)
            s3 = {"bucket": s3_bucket.name, "prefix": name, "endpoint": network.url}
            storages[name] = {"s3": {**s3, "pathStyle": True}, "downloads": downloads}
            write_keys(tmp_path / "storages" / name, s3_server.owner)
            storages[name]["job"] = made.job_id
        jobs = {name: str(storage.pop("job")) for name, storage in storages.items()}
        settings = {
            "STORAGES": json.dumps(storages),
            "STORAGES_DIRECTORY": str(tmp_path / "storages"),
        }
        async with serving(tmp_path, **settings) as api:
            for name, job_id in jobs.items():
                url = f"{api.url}/api/jobs/{job_id}/download"
                whole, cut = tmp_path / f"{name}.whole", tmp_path / f"{name}.cut"
                assert await curl("-o", str(whole), url) == 0
                assert whole.read_bytes() == content
                # HEAD, and then the client reads, or the api, which begins with a little.
                network.let_through({"redirected": 1, "streamed": 2}[name], Fault(CUT))
                assert await curl("-C", "-", "-o", str(cut), url) != 0
                network.heal()
                assert 0 < cut.stat().st_size < len(content)
                assert await curl("-C", "-", "-o", str(cut), url) == 0
                assert cut.read_bytes() == content
                assert await curl("--head", "-o", "/dev/null", url) == 0


async def curl(*arguments: str) -> int:
    """Its exit code, for a caller with a token."""
    require_programs(curl="curl")
    claims = {"sub": "alice", "exp": int(time.time()) + 600, "projects": ["proj-123"]}
    token = jwt.encode(claims, SECRET, "HS256")
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "-L",
        "-H",
        f"Authorization: Bearer {token}",
    ]
    process = await asyncio.create_subprocess_exec(*command, "--noproxy", "*", *arguments)
    async with asyncio.timeout(60):
        return await process.wait()


def write_keys(directory: Path, keys: KeyPair) -> None:
    """A storage's Secret, as files."""
    directory.mkdir(parents=True)
    (directory / "AWS_ACCESS_KEY_ID").write_text(keys.access_key_id)
    (directory / "AWS_SECRET_ACCESS_KEY").write_text(keys.secret_access_key)
