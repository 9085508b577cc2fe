"""How much the finished files of a project take, as its BackupExports tell."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field

from backupexport_operator.kube.cluster import Cluster

# A resync asks for every export that waits: one list answers all of a project's.
_GOOD_FOR_SECONDS = 20.0


@dataclass
class StoredBytes:
    """Lists a project's exports when somebody asks, since finished ones are not watched."""

    cluster: Cluster
    _known: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)
    _listing: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock), init=False
    )

    async def of(self, project_id: str) -> int:
        """Returns the sum, in bytes, at most a few seconds old; raises one of SERVER_AWAY."""
        async with self._listing[project_id]:
            listed_at, stored = self._known.get(project_id, (float("-inf"), 0))
            if time.monotonic() - listed_at > _GOOD_FOR_SECONDS:
                stored = await self.cluster.stored_bytes(project_id)
                self._known[project_id] = time.monotonic(), stored
            return stored

    def forget(self, project_id: str) -> None:
        """An export of the project has ended: its file counts from now on."""
        self._known.pop(project_id, None)
