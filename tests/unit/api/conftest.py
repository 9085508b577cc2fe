"""An app over a store in memory, a client for it, and a maker of tokens."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import jwt
import pytest
from backupexport_api.app import create_app
from backupexport_api.settings import Settings
from backupexport_contract.resources import BackupExport

SECRET = "the-secret-of-the-tests-" + "0123456789abcdef" * 3


class FakeStore:
    """A JobStore that keeps manifests in a list; `failure` makes every call raise it."""

    def __init__(self) -> None:
        self.projects = {"proj-123", "other"}
        self.manifests: list[dict[str, Any]] = []
        self.jobs: dict[str, BackupExport] = {}
        self.failure: Exception | None = None
        self.not_ready: list[str] = []

    def _answer(self) -> None:
        if self.failure:
            raise self.failure

    async def find_job(self, job_id: str) -> BackupExport | None:
        self._answer()
        return self.jobs.get(job_id)

    async def project_exists(self, project_id: str) -> bool:
        self._answer()
        return project_id in self.projects

    async def create_job(self, manifest: dict[str, Any]) -> BackupExport:
        self._answer()
        self.manifests.append(manifest)
        metadata = {
            **manifest["metadata"],
            "uid": str(uuid.uuid4()),
            "creationTimestamp": "2026-01-29T15:30:00Z",
        }
        export = BackupExport.model_validate({**manifest, "metadata": metadata})
        self.jobs[export.job_id] = export
        return export

    async def unready(self) -> list[str]:
        return self.not_ready


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    def make(**environment: str) -> Settings:
        for name, value in {"NAMESPACE": "exports", "JWT_SECRET": SECRET, **environment}.items():
            monkeypatch.setenv(f"BACKUPEXPORT_{name}", value)
        return Settings()

    return make


@pytest.fixture
def make_client(
    store: FakeStore, make_settings: Callable[..., Settings]
) -> Callable[..., httpx.AsyncClient]:
    def make(**environment: str) -> httpx.AsyncClient:
        app = create_app(make_settings(**environment), store)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://api")

    return make


@pytest.fixture
async def client(
    make_client: Callable[..., httpx.AsyncClient],
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with the default settings."""
    async with make_client() as client:
        yield client


@pytest.fixture
def token() -> Callable[..., str]:
    """A maker of tokens; a claim given as None is left out."""

    def make(*, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
        claims = {"sub": "alice", "exp": int(time.time()) + 600, **claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm=algorithm)

    return make


@pytest.fixture
def bearer(token: Callable[..., str]) -> Callable[..., dict[str, str]]:
    """The header with a token."""
    return lambda **claims: {"Authorization": f"Bearer {token(**claims)}"}


@pytest.fixture
def post(client: httpx.AsyncClient, bearer: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """POST an export: fields as keywords, or a raw `content`."""

    async def send(*, content: Any = None, **fields: Any) -> httpx.Response:
        headers = {**bearer(), "Content-Type": "application/json"}
        if content is not None:
            return await client.post("/api/backup/export", content=content, headers=headers)
        return await client.post(
            "/api/backup/export", json={"project_id": "proj-123", **fields}, headers=headers
        )

    return send
