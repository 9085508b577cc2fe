"""Which exports may have a Job of one kind of delivery; pure."""

from dataclasses import dataclass, field


@dataclass
class DeliverySlots:
    """The exports that have a Job of one kind of delivery, and those that wait to have one.

    At most `limit` have one at once, and one of each project.
    """

    limit: int
    _holders: dict[str, str] = field(default_factory=dict, init=False)
    _waiting: dict[str, str] = field(default_factory=dict, init=False)

    def take(self, uid: str, project_id: str) -> bool:
        """Returns whether the export has a slot now; otherwise it waits."""
        if uid in self._holders:
            return True
        if not self._has_room(project_id):
            self._waiting[uid] = project_id
            return False
        self.hold(uid, project_id)
        return True

    def hold(self, uid: str, project_id: str) -> None:
        """Give the export a slot whatever the limits are: its Job is there."""
        self._waiting.pop(uid, None)
        self._holders[uid] = project_id

    def leave(self, uid: str) -> str | None:
        """Take the export's slot back, and its place among those that wait.

        Returns the uid of the next export that may take a slot, if any; also if `uid` had none,
        which may itself have been the next, and need none any more.
        """
        self._waiting.pop(uid, None)
        self._holders.pop(uid, None)
        waiting = self._waiting.items()
        return next((waits for waits, project_id in waiting if self._has_room(project_id)), None)

    def _has_room(self, project_id: str) -> bool:
        return len(self._holders) < self.limit and project_id not in self._holders.values()
