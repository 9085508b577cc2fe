"""kopf inside a process that outlives it."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kopf

_logger = logging.getLogger(__name__)
_KOPF = Path(kopf.__file__).parent


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
    asyncio.get_running_loop().set_exception_handler(report_unseen_failure)
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


def report_unseen_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nothing waited for: kopf's own in a line, anything else as asyncio does.

    kopf asks for all API groups at once and gives up at the first that fails, so an outage of the
    Kubernetes API would leave a traceback for each of the others.
    """
    task, error = context.get("future"), context.get("exception")
    if isinstance(task, asyncio.Task) and error is not None and _is_of_kopf(task):
        _logger.warning("kopf gave up a request: %s: %s", type(error).__name__, error)
    else:
        loop.default_exception_handler(context)


def _is_of_kopf(task: asyncio.Task[object]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and _KOPF in Path(code.co_filename).parents
