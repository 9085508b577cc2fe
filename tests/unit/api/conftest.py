"""An app over a store in memory, a client for it, and a maker of tokens."""

import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from backupexport_api.app import create_app
from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedJob, CachedTarget
from backupexport_api.jobs.index import JobIndex
from backupexport_api.jobs.listeners import JobListener, JobListeners
from backupexport_api.jobs.query import JobQuery
from backupexport_api.jobs.store import JobStore, StoredExport
from backupexport_api.jobs.target_index import TargetIndex
from backupexport_api.kube.informer import CacheState
from backupexport_api.settings import ApiSettings
from backupexport_api.telemetry.metrics import Metrics
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.reasons import Phase
from exported_files import Exported, export

SECRET = "the-secret-of-the-tests-" + "0123456789abcdef" * 3


class FakeStore(JobStore):
    """A JobStore in memory; `failure` makes every call raise it."""

    def __init__(self) -> None:
        self.projects = {"proj-123", "other"}
        self.encrypted_projects: set[str] = set()
        self.manifests: list[dict[str, Any]] = []
        self.resources: dict[str, dict[str, Any]] = {}
        self.listeners = JobListeners()
        self.index = JobIndex(self.listeners.publish)
        self.targets = TargetIndex()
        self._versions = itertools.count(7)
        self.failure: Exception | None = None
        self.not_ready: list[str] = []
        self.looked_up: list[str] = []

    def _answer(self) -> None:
        if self.failure:
            raise self.failure

    def put(self, manifest: dict[str, Any], **status: Any) -> CachedJob:
        """Have a resource, as the operator has brought it on."""
        name = manifest["metadata"]["name"]
        metadata = {
            "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "creationTimestamp": "2026-01-29T15:30:00Z",
            **manifest["metadata"],
            "resourceVersion": str(next(self._versions)),
        }
        self.resources[name] = {**manifest, "metadata": metadata, "status": status}
        job = CachedJob.of(self.resources[name])
        self.index.put(job)
        return job

    async def find_job(self, job_id: str, access: ProjectAccess) -> CachedJob | None:
        self._answer()
        self.looked_up.append(job_id)
        job = self.index.get(job_id)
        return job if job and access.allows(job.project_id) else None

    def listen_to_job(self, job_id: str) -> AbstractContextManager[JobListener]:
        return self.listeners.listen(job_id)

    def known_job(self, job_id: str) -> CachedJob | None:
        self._answer()
        return self.index.get(job_id)

    async def list_jobs(
        self, query: JobQuery, access: ProjectAccess
    ) -> tuple[list[CachedJob], bool]:
        self._answer()
        return self.index.page(query, access)

    async def list_projects(
        self, after: str, limit: int, access: ProjectAccess
    ) -> tuple[list[tuple[CachedTarget, CachedJob | None]], bool]:
        self._answer()
        targets, has_more = self.targets.page(after, limit, access)
        return [(each, self.index.newest_of(each.project_id)) for each in targets], has_more

    async def project_exists(self, project_id: str) -> bool:
        self._answer()
        return project_id in self.projects

    def wants_recipient(self, project_id: str) -> bool:
        return project_id in self.encrypted_projects

    async def create_job(self, manifest: dict[str, Any]) -> StoredExport:
        self._answer()
        name = manifest["metadata"]["name"]
        is_new = name not in self.resources
        if is_new:
            self.manifests.append(manifest)
            self.put(manifest)
        return StoredExport(BackupExport.model_validate(self.resources[name]), is_new)

    async def find_export(self, name: str) -> BackupExport | None:
        self._answer()
        found = self.resources.get(name)
        return None if found is None else BackupExport.model_validate(found)

    async def cancel_job(self, job: CachedJob) -> CachedJob | None:
        self._answer()
        found = self.resources.get(job.name)
        if found is None:
            return None
        found = {**found, "spec": {**found["spec"], "cancel": True}}
        return self.put(found, **found["status"])

    async def take_back_links(self, job: CachedJob, link_id: str | None) -> bool:
        self._answer()
        found = self.resources.get(job.name)
        if found is None:
            return False
        changes = job.links.without(link_id, str(next(self._versions)))
        annotations = {**found["metadata"].get("annotations", {}), **changes}
        kept = {name: text for name, text in annotations.items() if text is not None}
        metadata = {**found["metadata"], "annotations": kept}
        self.put({**found, "metadata": metadata}, **found["status"])
        return True

    async def unready(self, *, with_kubernetes: bool) -> list[str]:
        return self.not_ready if with_kubernetes else []

    async def close(self) -> None:
        pass

    def cache_states(self) -> list[CacheState]:
        return [CacheState("backupexports", is_synced=True, age_seconds=1.5)]

    def count_by_phase(self) -> dict[Phase, int]:
        return self.index.count_by_phase()


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ApiSettings]:
    def make(**environment: str) -> ApiSettings:
        for name, value in {"NAMESPACE": "exports", "JWT_SECRET": SECRET, **environment}.items():
            monkeypatch.setenv(f"BACKUPEXPORT_{name}", value)
        return ApiSettings()

    return make


@pytest.fixture
def make_client(
    store: FakeStore, make_settings: Callable[..., ApiSettings]
) -> Callable[..., httpx.AsyncClient]:
    def make(**environment: str) -> httpx.AsyncClient:
        app = create_app(make_settings(**environment), store, Metrics())
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
    """A maker of tokens, good for all projects; a claim given as None is left out."""

    def make(*, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
        claims = {"sub": "alice", "exp": int(time.time()) + 600, "projects": ["*"], **claims}
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


@pytest.fixture
def exported(tmp_path: Path, store: Any) -> Exported:
    """A finished export, known to the store."""
    made = export(tmp_path)
    store.put(made.manifest, **made.status)
    return made
