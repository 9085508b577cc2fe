"""kopf inside a process that outlives it."""

import asyncio
from collections.abc import Callable

import kopf


async def run_kopf(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    namespace: str,
    stop: asyncio.Event,
    started: asyncio.Event,
    take_signals: Callable[[], None],
) -> None:
    """Run kopf until `stop` is set; its own end, by an error or not, ends this too.

    At its end kopf waits for every task that is younger than itself and then cancels it, so what
    else lives in the process has to be there before.  It takes SIGTERM and SIGINT for itself
    as it starts: `take_signals` takes them back before the event loop can run again.
    """
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=settings,
        namespaces=[namespace],
        standalone=True,
        stop_flag=stop,
        ready_flag=started,
    )
    take_signals()
    await kopf.run_tasks(tasks, ignored=others)
