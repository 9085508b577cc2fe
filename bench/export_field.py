"""A namespace, the exports that the benchmark makes in it, and what becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager

import kubelet_stand_in
import many_exports
from backupexport_contract import names, timestamps
from cluster_api import EXPORTS, JOBS, PODS, ClusterApi, Manifest
from journal import Journal, NotSeenError, Step
from playground.tools import kubectl

# How long a busy machine may be silent.
_PATIENCE_SECONDS = 60.0
_STEPS = {"Running": Step.RUNNING, "Succeeded": Step.SUCCEEDED}


def export_of(manifest: Manifest) -> str:
    """The name of the export that a Job or a pod belongs to: the benchmark's names are job ids."""
    name: str = manifest["metadata"]["labels"][names.LABEL_JOB_ID]
    return name


def is_complete(job: Manifest) -> bool:
    """Whether the Job controller calls a Job complete."""
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)


class ExportField:
    """Exports of one namespace, watched by the benchmark's own eyes."""

    def __init__(self, api: ClusterApi, namespace: str, quiet_seconds: float) -> None:
        """`quiet_seconds`: a pause this long is the end of what the controllers do."""
        self._api, self.namespace, self._quiet_seconds = api, namespace, quiet_seconds
        self.journal = Journal()
        self._exports: dict[str, Manifest] = {}
        self._pods: dict[str, str] = {}

    @asynccontextmanager
    async def watched(self) -> AsyncIterator["ExportField"]:
        """See Jobs, and nothing else: to read more would take time from what is measured."""
        async with self._api.watching(JOBS.format(self.namespace), self._job_seen):
            yield self

    @asynccontextmanager
    async def watched_closely(self) -> AsyncIterator[None]:
        """See pods and BackupExports too."""
        async with AsyncExitStack() as stack:
            for path, seen in ((PODS, self._pod_seen), (EXPORTS, self._export_seen)):
                watching = self._api.watching(path.format(self.namespace), seen)
                await stack.enter_async_context(watching)
            yield

    async def create(self, count: int, at_once: int) -> list[str]:
        """Create exports, so many at once, and return their names when all are stored."""
        manifests = many_exports.new_manifests(count)
        waiting = iter(manifests)

        async def work() -> None:
            for manifest in waiting:
                name = manifest["metadata"]["name"]
                self._exports[name] = manifest
                self.journal.note(Step.SENT, name)
                await self._api.create_export(self.namespace, manifest)
                self.journal.note(Step.STORED, name)

        await asyncio.gather(*(work() for _ in range(at_once)))
        return [manifest["metadata"]["name"] for manifest in manifests]

    async def created(self, count: int, at_once: int) -> list[str]:
        """Create exports and return their names when each has its Job."""
        created = await self.create(count, at_once)
        await self.has(Step.JOB, created)
        return created

    async def has(self, step: Step, exports: Collection[str]) -> None:
        """Wait until each was seen at `step`; NotSeenError says where it wasn't."""
        try:
            await self.journal.all_at(step, exports, _PATIENCE_SECONDS)
        except NotSeenError as error:
            # Whether it was not done, or only not seen.
            there = len(await self.jobs())
            raise NotSeenError(f"{error}; {self.namespace} has {there} Jobs") from None

    async def settled(self, exports: Collection[str]) -> None:
        """Wait until each has a pod and nothing moves any more."""
        async with self.watched_closely():
            await self.has(Step.POD, exports)
            await self.journal.quiet(self._quiet_seconds)

    async def carried_out(self, exports: Collection[str], at_once: int) -> None:
        """Play the kubelet for the exports' pods, from their start to a good end."""
        async with self.watched_closely():
            await self.has(Step.POD, exports)
            started = timestamps.now()
            await self._pods_become(exports, at_once, lambda _: kubelet_stand_in.running(started))
            await self.has(Step.RUNNING, exports)

            def end(name: str) -> Manifest:
                project = self._exports[name]["spec"]["projectId"]
                ended = timestamps.now()
                self.journal.note(Step.ENDED, name)
                return kubelet_stand_in.succeeded(name, project, started, ended)

            await self._pods_become(exports, at_once, end)
            await self.has(Step.COMPLETE, exports)
            await self.has(Step.SUCCEEDED, exports)
            await self.journal.quiet(self._quiet_seconds)

    async def targets_told(self) -> None:
        """Wait until the operator has told each ExportTarget that it is ready."""
        wait = ("wait", "--for=condition=Ready", names.TARGET_PLURAL, "--all", "--timeout=120s")
        await asyncio.to_thread(kubectl, "-n", self.namespace, *wait)

    async def jobs(self) -> list[Manifest]:
        """The namespace's Jobs, as the API server has them."""
        return await self._api.items(JOBS.format(self.namespace))

    async def _pods_become(
        self, exports: Collection[str], at_once: int, status: Callable[[str], Manifest]
    ) -> None:
        waiting = iter(exports)

        async def work() -> None:
            for name in waiting:
                path = PODS.format(self.namespace)
                await self._api.patch_status(path, self._pods[name], status(name))

        await asyncio.gather(*(work() for _ in range(at_once)))

    def _job_seen(self, kind: str, job: Manifest) -> None:
        self.journal.stir()
        if kind == "ADDED":
            self.journal.note(Step.JOB, export_of(job))
        elif is_complete(job):
            self.journal.note(Step.COMPLETE, export_of(job))

    def _pod_seen(self, _: str, pod: Manifest) -> None:
        self.journal.stir()
        name = export_of(pod)
        self._pods[name] = pod["metadata"]["name"]
        self.journal.note(Step.POD, name)

    def _export_seen(self, _: str, export: Manifest) -> None:
        self.journal.stir()
        name, phase = export["metadata"]["name"], export.get("status", {}).get("phase")
        if phase in _STEPS:
            self.journal.note(_STEPS[phase], name)
