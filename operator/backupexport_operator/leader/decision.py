"""Who may lead and write, from what the Lease says and a local clock.

Times are seconds of one process's own clock; no clock of another machine is trusted.  A leader
counts from before it sent its last good renewal, a candidate from after it saw that renewal, so
the leader's time always ends first.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Timings:
    """`renew_deadline` is when a leader stops by itself, `lease` when another may take over."""

    lease: float = 10.0
    renew_deadline: float = 7.0
    retry: float = 2.0

    @property
    def attempt(self) -> float:
        """How long one request may take: a hung one must leave time for another."""
        return self.renew_deadline / 2


@dataclass(frozen=True)
class LeaseRecord:
    """What a Lease says; `stamp` changes with each renewal, an empty `holder` is nobody."""

    holder: str
    lease: float
    stamp: str


@dataclass(frozen=True)
class SeenLease:
    """The last change of the Lease that was seen, and when; without a stamp it is not there."""

    holder: str
    lease: float
    stamp: str | None
    since: float


def seen_now(
    before: SeenLease | None, record: LeaseRecord | None, now: float, own: float
) -> SeenLease:
    """What is known after the Lease was read as `record` (None: there is none).

    `own` is the lease time this process was given; the holder may have been given another one.
    """
    if record is not None:
        if before is not None and before.stamp == record.stamp:
            return before
        return SeenLease(record.holder, max(record.lease, own), record.stamp, now)
    if before is None:
        return SeenLease("", own, None, now)
    if before.stamp is None:
        return before
    # Somebody deleted it, which its holder learns at its next renewal only.
    return replace(before, stamp=None, since=now)


def seconds_until_free(seen_lease: SeenLease, identity: str, now: float) -> float:
    """How long one has to wait, at least, who may take the Lease from nobody and `identity`."""
    if seen_lease.holder in ("", identity):
        return 0.0
    return max(0.0, seen_lease.since + seen_lease.lease - now)


def seconds_to_deadline(renewed_at: float | None, now: float, timings: Timings) -> float:
    """How long a leader may go on without another renewal; nothing where it leads no more."""
    if renewed_at is None:
        return 0.0
    return max(0.0, renewed_at + timings.renew_deadline - now)


def seconds_to_write(renewed_at: float | None, now: float, timings: Timings) -> float:
    """How long a write that begins now may take; nothing where none may begin.

    It ends well before another may lead: the rest is for the server's part of it and for
    clocks that don't run at quite the same speed.
    """
    if renewed_at is None or seconds_to_deadline(renewed_at, now, timings) <= 0:
        return 0.0
    return renewed_at + (timings.renew_deadline + timings.lease) / 2 - now
