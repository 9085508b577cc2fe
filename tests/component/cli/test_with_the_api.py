"""Commands against the real api, which reads a fake Kubernetes API."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import builders
import cli_run
import httpx
import pytest
from backupexport_contract import timestamps
from caller_tokens import caller_token
from cli_run import Ran
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from playground.forward import free_port
from playground.tools import ROOT

SECRET = "the-secret-of-the-tests-" + "0123456789abcdef" * 2
Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def url(kubernetes: FakeKubernetes, tmp_path: Path) -> AsyncIterator[str]:
    """The api as a process."""
    kubernetes.seed("exporttargets", builders.target_manifest("shop"))
    port = free_port()
    settings = {
        "NAMESPACE": NAMESPACE,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "HEALTH_PORT": str(free_port()),
        "JWT_SECRET": SECRET,
        "EXPORT_RATE_LIMIT": "1000/minute",
        "DRAIN_SECONDS": "0",
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
    found = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as client:
            while not await _is_ready(client, found):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield found
    finally:
        process.terminate()
        await process.wait()


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def settings(url: str) -> dict[str, str]:
    """The environment of a user with a token for one project."""
    return {
        "BACKUPEXPORT_URL": url,
        "BACKUPEXPORT_TOKEN": caller_token(SECRET, "shop"),
    }


@pytest.fixture
def run(settings: dict[str, str], tmp_path: Path) -> Run:
    """Run a command while the fake Kubernetes API, on this loop, answers."""

    async def ran(*arguments: str) -> Ran:
        return await asyncio.to_thread(cli_run.run, tmp_path, settings, *arguments)

    return ran


async def test_an_export_from_its_request_to_its_cancel(
    run: Run, kubernetes: FakeKubernetes
) -> None:
    asked = await run(
        "export", "shop", "--format", "tar", "--no-owner", "--exclude-table", "audit.*",
        "--storage-path", "before/migration", "--json", "--idempotency-key", "k",
    )  # fmt: skip
    assert asked.code == 0, asked.err
    job_id = asked.document["job_id"]
    stored = kubernetes.objects("backupexports")[job_id]["spec"]
    assert stored["format"] == "tar"
    assert stored["excludeTables"] == ["audit.*"]
    assert stored["owner"] is False
    again = await run(
        "export", "shop", "--format", "tar", "--no-owner", "--exclude-table", "audit.*",
        "--storage-path", "before/migration", "--idempotency-key", "k",
    )  # fmt: skip
    assert again.out == f"{job_id}\n"
    listed = (await run("jobs", "--project", "shop", "--json")).document["jobs"]
    assert [each["job_id"] for each in listed] == [job_id]
    shown = (await run("job", job_id[:8], "--json")).document
    assert shown == listed[0]
    cancelled = await run("cancel", job_id[:8])
    assert cancelled.code == 0, cancelled.err
    assert kubernetes.objects("backupexports")[job_id]["spec"]["cancel"] is True


@pytest.mark.parametrize(
    ("phase", "code", "words"),
    [("Succeeded", 0, ["completed", "1 B"]), ("Failed", 1, ["DumpFailed", "Do this."])],
)
async def test_an_export_is_followed_to_its_end(
    run: Run,
    settings: dict[str, str],
    kubernetes: FakeKubernetes,
    tmp_path: Path,
    phase: str,
    code: int,
    words: list[str],
) -> None:
    job_id = (await run("export", "shop", "--quiet")).out.strip()
    process = await asyncio.to_thread(cli_run.start, tmp_path, settings, "watch", job_id)
    with process:
        try:
            await _lead(kubernetes, process, job_id, phase)
            out, err = await asyncio.to_thread(process.communicate, timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, err
    for word in words:
        assert word in out + err


def _change(kubernetes: FakeKubernetes, job_id: str, status: dict[str, Any]) -> None:
    kubernetes.change("backupexports", job_id, {"status": status})


async def _lead(
    kubernetes: FakeKubernetes, process: "subprocess.Popen[str]", job_id: str, phase: str
) -> None:
    """Bring the export to its end, each step once the one before is told."""
    assert process.stdout is not None
    assert "pending" in await asyncio.to_thread(process.stdout.readline)
    now = timestamps.to_text(timestamps.now())
    progress = {"percent": 7, "dumpedBytes": 70, "estimatedBytes": 1000, "display": "7%"}
    begun = {"phase": "Running", "startTime": now, "progress": progress}
    _change(kubernetes, job_id, begun)
    told = await asyncio.to_thread(process.stdout.readline)
    assert "running" in told
    assert "7 %" in told
    ended: dict[str, Any] = {"phase": phase, "completionTime": now}
    if phase == "Succeeded":
        ended["artifact"] = builders.ARTIFACT_STATUS | {"sha256": "ab" * 32}
    else:
        ended |= {"reason": "DumpFailed", "message": "Do this."}
    _change(kubernetes, job_id, ended)


async def test_each_refusal_has_its_exit_code(
    run: Run, settings: dict[str, str], kubernetes: FakeKubernetes, tmp_path: Path
) -> None:
    kubernetes.seed("exporttargets", builders.target_manifest("other", name="o"))
    # Of the right shape, and nothing that age can encrypt to.
    wrong = await run("export", "shop", "--encrypt-to", "age1" + "q" * 58)
    assert wrong.code == 2
    assert "encrypt_to" in wrong.err
    assert (await run("export", "other")).code == 3
    assert (await run("job", "0b7c5a52-1f0e-4c1b-9d3e-6a1f2b3c4d5e")).code == 4
    assert (await run("jobs", "--json")).document == {"jobs": []}
    settings["BACKUPEXPORT_TOKEN"] = "not-a-token"
    refused = await asyncio.to_thread(cli_run.run, tmp_path, settings, "jobs")
    assert refused.code == 3
    assert "backupexport login" in refused.err
    assert "not-a-token" not in refused.err
