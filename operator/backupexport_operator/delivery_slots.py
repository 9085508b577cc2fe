"""How many deliveries are made at once: one of a kind for each project, and so many in all.

A project whose deliveries hang keeps no other project's waiting.
"""


class DeliverySlots:
    """Who delivers and who waits for that, of one kind; `limit` is for all projects."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._holders: dict[str, str] = {}
        self._waiting: dict[str, str] = {}

    def take(self, uid: str, project_id: str) -> bool:
        """Whether the export may deliver now; else it is told of by `leave` when it may."""
        if uid in self._holders:
            return True
        if not self._has_room(project_id):
            self._waiting[uid] = project_id
            return False
        self.hold(uid, project_id)
        return True

    def hold(self, uid: str, project_id: str) -> None:
        """The export delivers already, as is found out after a restart."""
        self._waiting.pop(uid, None)
        self._holders[uid] = project_id

    def leave(self, uid: str) -> str | None:
        """The export delivers no more, for now or for good; the uid of who may do so instead.

        Also where it had no slot: it may have been woken to take one that it doesn't need any more.
        """
        self._waiting.pop(uid, None)
        self._holders.pop(uid, None)
        for waiting, project_id in self._waiting.items():
            if self._has_room(project_id):
                return waiting
        return None

    def _has_room(self, project_id: str) -> bool:
        return len(self._holders) < self._limit and project_id not in self._holders.values()
