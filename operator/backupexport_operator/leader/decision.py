"""Which replica may lead, and which may write; pure.

Times are seconds of this process's own clock; other machines' clocks are not trusted.  A leader
counts from before it sent its last successful renewal, a candidate from after it read that one.
So the leader's time ends before the candidate's begins.
"""

import math
from dataclasses import dataclass, replace

# When a process that doesn't lead has renewed the Lease.
NEVER = -math.inf


@dataclass(frozen=True)
class Timings:
    """Seconds after a renewal: a leader stops at `renew_deadline`, another may lead at `lease`.

    A leader renews, and a candidate looks, every `retry` seconds.
    """

    lease: float = 10.0
    renew_deadline: float = 7.0
    retry: float = 2.0

    @property
    def attempt(self) -> float:
        """How long one request may take, so that there is time for a second one."""
        return self.renew_deadline / 2


@dataclass(frozen=True)
class LeaseRecord:
    """What a Lease says; `stamp` changes with each renewal, `holder` is empty for nobody."""

    holder: str
    lease: float
    stamp: str


@dataclass(frozen=True)
class SeenLease:
    """The Lease as it was when it last changed, and when; `stamp` is None if it is not there."""

    holder: str
    lease: float
    stamp: str | None
    since: float


def seen_now(
    before: SeenLease | None, record: LeaseRecord | None, now: float, own: float
) -> SeenLease:
    """Returns what is known of the Lease once it was read as `record`, None if there is none.

    `own` is this process's own lease time; the holder's may be another one.
    """
    if record is not None:
        if before is not None and before.stamp == record.stamp:
            return before
        return SeenLease(record.holder, max(record.lease, own), record.stamp, now)
    if before is None:
        return SeenLease("", own, None, now)
    if before.stamp is None:
        return before
    # Somebody deleted it; its holder leads on until its next renewal.
    return replace(before, stamp=None, since=now)


def seconds_until_free(seen_lease: SeenLease, identity: str, now: float) -> float:
    """Returns the seconds until `identity` may take the Lease: 0 if nobody or itself holds it."""
    if seen_lease.holder in ("", identity):
        return 0.0
    return max(0.0, seen_lease.since + seen_lease.lease - now)


def seconds_to_deadline(renewed_at: float, now: float, timings: Timings) -> float:
    """Returns the seconds that a leader may go on without a renewal; 0 if it leads no more."""
    return max(0.0, renewed_at + timings.renew_deadline - now)


def seconds_to_write(renewed_at: float, now: float, timings: Timings) -> float:
    """Returns the seconds that a write which begins now may take; 0 if none may begin.

    They end halfway between this leader's end and the next one's start.  The other half is for
    the server's part of the write, and for clocks that run at different speeds.
    """
    if seconds_to_deadline(renewed_at, now, timings) <= 0:
        return 0.0
    return renewed_at + (timings.renew_deadline + timings.lease) / 2 - now
