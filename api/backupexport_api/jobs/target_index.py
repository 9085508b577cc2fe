"""All ExportTargets by project: of two with one project id the older serves."""

import bisect
import itertools
import threading
from collections import defaultdict

from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedTarget


class TargetIndex:
    """ExportTargets by project, and the projects in the order of lists."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[str, CachedTarget] = {}
        # The one that serves comes first.
        self._of_project: defaultdict[str, list[CachedTarget]] = defaultdict(list)
        self._project_ids: list[str] = []

    def put(self, target: CachedTarget) -> None:
        """Add a target, or replace it by its new version."""
        with self._lock:
            self._remove(target.name)
            self._targets[target.name] = target
            rivals = self._of_project[target.project_id]
            if not rivals:
                bisect.insort(self._project_ids, target.project_id)
            bisect.insort(rivals, target, key=_seniority)

    def discard(self, name: str) -> None:
        """Remove the target of the resource with this name."""
        with self._lock:
            self._remove(name)

    def serving(self, project_id: str) -> CachedTarget | None:
        """Return the target that serves the project."""
        with self._lock:
            return self._serving(project_id)

    def page(
        self, after: str, limit: int, access: ProjectAccess
    ) -> tuple[list[CachedTarget], bool]:
        """Return the targets that serve the next projects after one, and whether there are more."""
        with self._lock:
            if access.every_project:
                start = bisect.bisect_right(self._project_ids, after)
                project_ids = self._project_ids[start : start + limit + 1]
            else:
                # Projects that a caller may not see are not looked at, like their jobs.
                project_ids = sorted(each for each in access.project_ids if each > after)
            serving = (self._serving(project_id) for project_id in project_ids)
            served = (target for target in serving if target is not None)
            found = list(itertools.islice(served, limit + 1))
        return found[:limit], len(found) > limit

    def _serving(self, project_id: str) -> CachedTarget | None:
        rivals = self._of_project.get(project_id)
        return rivals[0] if rivals else None

    def _remove(self, name: str) -> None:
        target = self._targets.pop(name, None)
        if target is None:
            return
        rivals = self._of_project[target.project_id]
        rivals.remove(target)
        if not rivals:
            del self._of_project[target.project_id]
            place = bisect.bisect_left(self._project_ids, target.project_id)
            del self._project_ids[place]


def _seniority(target: CachedTarget) -> tuple[str, str]:
    return target.created_at, target.name
