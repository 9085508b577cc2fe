"""Observe, decide, apply, for one resource at a time."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from backupexport_contract import names, timestamps
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import Phase, Reason
from backupexport_contract.resources import BackupExport, BackupExportStatus
from backupexport_contract.runner_protocol import Progress
from backupexport_contract.target_resource import ExportTarget
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.cluster_writer import SERVER_AWAY, ClusterWriter
from backupexport_operator.decision import Observation, Plan, decide
from backupexport_operator.facts import JobFacts, PodFacts
from backupexport_operator.job_manifest import RunnerDefaults, job_manifest
from backupexport_operator.keyed_tasks import KeyedTasks
from backupexport_operator.log_follower import LogFollower
from backupexport_operator.targets import readiness, serving_target
from backupexport_operator.transition import events_between, merge_patch, with_condition

_logger = logging.getLogger(__name__)

Value_co = TypeVar("Value_co", covariant=True)

PARALLEL_RECONCILES = 32


class Index(Protocol[Value_co]):
    """What is used of a kopf index: a live, read-only mapping of a key to several values."""

    def __contains__(self, key: object, /) -> bool:
        """Whether anything is under `key`."""

    def __getitem__(self, key: str, /) -> Iterable[Value_co]:
        """The values under `key`."""

    def keys(self) -> Iterable[str]:
        """All keys."""


@dataclass(frozen=True)
class World:
    """What kopf's watches have seen.

    Targets are under their project id, everything else under the export's uid.
    """

    exports: Index[BackupExport]
    targets: Index[ExportTarget]
    jobs: Index[JobFacts]
    pods: Index[PodFacts]


class Reconciler:
    """Brings every BackupExport to its next step and every ExportTarget's status up to date."""

    def __init__(
        self,
        world: World,
        writer: ClusterWriter,
        follower: LogFollower,
        defaults: RunnerDefaults,
        progress_seconds: float,
    ) -> None:
        self._world = world
        self._writer = writer
        self._follower = follower
        self._defaults = defaults
        self._progress_seconds = progress_seconds
        # What this process wrote and the watch may not have brought back yet.
        self._written: dict[str, BackupExport] = {}
        self._progress: dict[str, Progress] = {}
        # A watch that had to list anew doesn't tell what vanished meanwhile: what the resync
        # asks for is read afresh, and what turns out to be gone is remembered as gone.
        self._doubted: set[str] = set()
        self._gone: set[str] = set()
        self.exports: KeyedTasks[str] = KeyedTasks(
            self._reconcile, PARALLEL_RECONCILES, SERVER_AWAY
        )
        self.projects: KeyedTasks[str] = KeyedTasks(self._reconcile_targets, 4, SERVER_AWAY)

    def resync(self) -> None:
        """Ask for everything that is unfinished, whether or not an event came."""
        uids = set(self._world.exports.keys())
        self._gone &= uids
        for uid in uids - self._gone:
            self._doubted.add(uid)
            self.exports.ask(uid)
        for project_id in list(self._world.targets.keys()):
            self.projects.ask(project_id)

    def project_changed(self, project_id: str) -> None:
        """A target of the project came, changed or went: its waiting exports may go on."""
        self.projects.ask(project_id)
        for uid in list(self._world.exports.keys()):
            for export in _values(self._world.exports, uid):
                if export.spec.project_id == project_id:
                    self.exports.ask(uid)

    def told_progress(self, uid: str, progress: Progress) -> None:
        """A runner's log told how far it is; written at most every `progress_seconds`."""
        if self._progress.get(uid) != progress:
            self._progress[uid] = progress
            self.exports.ask(uid, delay=self._progress_seconds)

    async def stop(self) -> None:
        """Stop working; what was under way is picked up by the next process."""
        await self.exports.stop()
        await self.projects.stop()

    async def _reconcile(self, uid: str) -> None:
        doubted = uid in self._doubted
        seen = self._observe(uid)
        if seen is None:
            self._forget(uid)
            return
        plan = decide(seen)
        if doubted or _needs_fresh_eyes(seen, plan):
            seen = await self._look_again(seen)
            self._doubted.discard(uid)
            if seen is None:
                self._gone.add(uid)
                self._forget(uid)
                return
            plan = decide(seen)
        await self._apply(seen, plan)

    def _observe(self, uid: str) -> Observation | None:
        export = next(_values(self._world.exports, uid), None)
        written = self._written.get(uid)
        if export is None or uid in self._gone:
            return None
        if written is not None and _version(written) > _version(export):
            export = written
        else:
            self._written.pop(uid, None)
        return Observation(
            export=export,
            target=serving_target(_values(self._world.targets, export.spec.project_id)),
            job=next(_values(self._world.jobs, uid), None),
            pods=tuple(_values(self._world.pods, uid)),
            now=timestamps.now(),
            backoff_limit=self._defaults.backoff_limit,
            progress=self._progress.get(uid),
        )

    async def _look_again(self, seen: Observation) -> Observation | None:
        export = await self._writer.read_export(seen.export.metadata.name)
        if export is None or export.metadata.uid != seen.export.metadata.uid:
            return None
        return replace(
            seen,
            export=export,
            target=serving_target(await self._writer.list_targets(export.spec.project_id)),
            job=await self._writer.read_job(names.job_name(export.metadata.name)),
            pods=await self._writer.list_pods(export.metadata.uid),
        )

    async def _apply(self, seen: Observation, plan: Plan) -> None:
        uid = seen.export.metadata.uid
        if plan.create_job:
            job = await self._create_job(seen)
            if job.owner_uid != uid:
                # Another's Job has the name, so ours was not made: decide on that instead.
                plan = decide(replace(seen, job=job))
        if plan.delete_job:
            await self._writer.delete_job(names.job_name(seen.export.metadata.name))
        await self._write_status(seen.export, plan.status)
        if plan.follow_pod is not None:
            self._follower.follow(uid, plan.follow_pod)
        else:
            self._follower.forget(uid)
            self._progress.pop(uid, None)
        if plan.recheck_after is not None:
            self.exports.ask(uid, delay=plan.recheck_after.total_seconds())

    async def _create_job(self, seen: Observation) -> JobFacts:
        if seen.target is None:
            raise AssertionError("a Job is planned only for an export with a target")
        manifest = job_manifest(seen.export, seen.target, self._defaults)
        try:
            return await self._writer.create_job(manifest)
        except ApiException as error:
            if error.status in (400, 403, 422):
                why = f"{error.status} {error.reason}"
                await self._write_status(seen.export, _refused(seen.export, why))
            raise
        except ValueError:
            why = "its manifest is invalid, see the resources on the ExportTarget"
            await self._write_status(seen.export, _refused(seen.export, why))
            raise

    async def _write_status(self, export: BackupExport, status: BackupExportStatus) -> None:
        patch = merge_patch(export.status, status)
        if not patch:
            return
        updated = await self._writer.patch_export_status(export, patch)
        if updated is None:
            return
        self._written[export.metadata.uid] = updated
        if status.phase != export.status.phase:
            _logger.info(
                "export %s of project %s: %s%s",
                export.job_id,
                export.spec.project_id,
                status.phase,
                f" ({status.reason}: {status.message})" if status.reason else "",
            )
        for event in events_between(export.status, status):
            try:
                await self._writer.post_event(export, event)
            except SERVER_AWAY as error:
                # An Event is a courtesy to readers of kubectl describe: the status has it all.
                _logger.warning("event on %s: %s", export.metadata.name, error)

    async def _reconcile_targets(self, project_id: str) -> None:
        rivals = list(_values(self._world.targets, project_id))
        for target in rivals:
            ready, reason, message = readiness(target, rivals)
            condition = Condition(
                type="Ready",
                status="True" if ready else "False",
                reason=reason,
                message=message,
                last_transition_time=timestamps.to_text(timestamps.now()),
                observed_generation=target.metadata.generation,
            )
            wanted = target.status.model_copy(
                update={
                    "observed_generation": target.metadata.generation,
                    "conditions": with_condition(target.status.conditions, condition),
                }
            )
            patch = merge_patch(target.status, wanted)
            if patch:
                await self._writer.patch_target_status(target, patch)

    def _forget(self, uid: str) -> None:
        self._follower.forget(uid)
        self._progress.pop(uid, None)
        self._written.pop(uid, None)
        self._doubted.discard(uid)


def _values(index: Index[Value_co], key: str) -> Iterator[Value_co]:
    return iter(index[key]) if key in index else iter(())


def _needs_fresh_eyes(seen: Observation, plan: Plan) -> bool:
    """Watches of different kinds run apart: a Job's end may be seen before its pod's.

    A verdict that can't be taken back is therefore given on fresh reads, except success, which
    rests on a report that only a finished runner writes.
    """
    phase = plan.status.phase
    newly_finished = phase is not None and phase.is_finished and phase != seen.export.phase
    return newly_finished and phase != Phase.SUCCEEDED


def _refused(export: BackupExport, why: str) -> BackupExportStatus:
    return export.status.model_copy(
        update={
            "phase": export.phase,
            "reason": Reason.INTERNAL,
            "message": f"The Job can't be created ({why}): ask the "
            "cluster's administrators; the operator's log says more and it goes on trying.",
        }
    )


def _version(export: BackupExport) -> int:
    # Integers by KEP-5504, and in every released Kubernetes before it.
    return int(export.metadata.resource_version or 0)
