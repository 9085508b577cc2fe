"""What kopf's watches would have told of the fake API server's objects."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_operator.observed.export_cache import Index, World
from backupexport_operator.observed.jobs_and_pods import export_uid_of, observed_job, observed_pod
from fake_kubernetes.server import FakeKubernetes

Value = TypeVar("Value")
Manifest = dict[str, Any]


class Live(Mapping[str, list[Value]]):
    """An index whose watch is never late."""

    def __init__(
        self,
        kubernetes: FakeKubernetes,
        plural: str,
        key_of: Callable[[Manifest], str | None],
        read: Callable[[Manifest], Value],
    ) -> None:
        self._kubernetes = kubernetes
        self._plural = plural
        self._key_of = key_of
        self._read = read

    def __getitem__(self, key: str) -> list[Value]:
        found = [self._read(it) for it in self._all() if self._key_of(it) == key]
        if not found:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter({key for it in self._all() if (key := self._key_of(it)) is not None})

    def __len__(self) -> int:
        return len(set(self))

    def _all(self) -> list[Manifest]:
        return list(self._kubernetes.objects(self._plural).values())


def exports(kubernetes: FakeKubernetes) -> Live[BackupExport]:
    def uid_of_unfinished(manifest: Manifest) -> str | None:
        finished = BackupExport.model_validate(manifest).phase.is_finished
        return None if finished else str(manifest["metadata"]["uid"])

    return Live(kubernetes, names.EXPORT_PLURAL, uid_of_unfinished, BackupExport.model_validate)


def picture(index: Index[Value]) -> dict[str, list[Value]]:
    """What the index has now, and no later change of it."""
    return {key: list(index[key]) for key in list(index.keys())}


def live_world(kubernetes: FakeKubernetes) -> World:
    """All of it as it is now."""
    return World(
        exports=exports(kubernetes),
        targets=Live(
            kubernetes,
            names.TARGET_PLURAL,
            lambda it: str(it["spec"]["projectId"]),
            ExportTarget.model_validate,
        ),
        jobs=Live(kubernetes, "jobs", export_uid_of, observed_job),
        pods=Live(kubernetes, "pods", export_uid_of, observed_pod),
    )
