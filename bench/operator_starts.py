"""From the operator's start until it can act."""

import asyncio
from dataclasses import dataclass

from counting_proxy import CountingProxy, Request
from export_field import ExportField
from journal import Step
from operator_installation import Installation
from processors import cpu_seconds, memory

# A resync or two are among what an operator settles to.
RESYNC_SECONDS = 5
SETTLING_SECONDS = 12.0


@dataclass(frozen=True)
class Start:
    """What one start took, in seconds, and left, in MiB; `writes` are for old exports."""

    seconds: float
    cpu: float
    rss: float
    writes: int


async def start(field: ExportField, installation: Installation, proxy: CountingProxy) -> Start:
    """Start the operator and watch it.

    It is ready when it has made the Job of an export that waited for it: it has then seen
    everything, because it decides nothing before.
    """
    async with field.watched():
        waiting = await field.create(1, 1)
        proxy.requests.clear()
        with installation.operator(proxy.port) as operator:
            await field.has(Step.JOB, waiting)
            cpu = cpu_seconds(operator.pid)
            await asyncio.sleep(SETTLING_SECONDS)
            rss, _ = memory(operator.pid)
            writes = old_writes(proxy.requests, waiting[0])
    for write in writes:
        print(f"UNEXPECTED at the start: {write.method} {write.target}")
    seconds = field.journal.moment(Step.JOB, waiting[0]) - operator.started
    return Start(seconds, cpu, rss, len(writes))


def old_writes(requests: list[Request], new: str) -> list[Request]:
    """The writes that are neither for the export `new` nor the operator's own Lease."""
    return [
        request
        for request in requests
        if request.is_write and not request.is_for("leases") and not request.names(new)
    ]
