"""How many deliveries a receiver has got within an hour; pure."""

from dataclasses import dataclass, field

HOUR_SECONDS = 3600.0


@dataclass
class Ration:
    """Times are seconds of one clock; further attempts at one export's delivery don't count."""

    _given: dict[str, dict[str, float]] = field(default_factory=dict, init=False)

    def take(self, receiver: str, most: int, uid: str, now: float) -> float:
        """Count the export's delivery, if less than `most` others were made within an hour.

        Returns 0, or the seconds until it may be asked for again.
        """
        self._forget(now)
        given = self._given.setdefault(receiver, {})
        if uid not in given and len(given) >= most:
            return sorted(given.values())[-most] + HOUR_SECONDS - now
        given.setdefault(uid, now)
        return 0.0

    def _forget(self, now: float) -> None:
        since = now - HOUR_SECONDS
        for receiver, given in list(self._given.items()):
            recent = {uid: at for uid, at in given.items() if at > since}
            if recent:
                self._given[receiver] = recent
            else:
                del self._given[receiver]
