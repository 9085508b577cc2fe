"""Runs kopf in our process, and keeps it from writing on the resources."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kopf

_logger = logging.getLogger(__name__)
_KOPF = Path(kopf.__file__).parent


class NothingKept(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """Has kopf keep nothing on the resources.

    kopf keeps what its change handlers have handled.  We have none, and without this class kopf
    copies each resource whole for every event, which is a sixth of the operator's time.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Returns nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Finds nothing, as nothing is kept; to keep or remove something does nothing, too."""

    store = purge = touch = fetch

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Returns `essence`, which has nothing of ours."""
        return essence


class KopfConnection(kopf.ConnectionInfo):
    """A login of kopf's whose TLS trusts what kubectl trusts, as `client.connect` does."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Returns kopf's context without Python 3.13's checks beyond chain, name and dates."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def login(**kwargs: Any) -> KopfConnection | None:
    """Returns the pod's service account, else the kubeconfig's user; None without either."""
    found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    return KopfConnection(**vars(found)) if found is not None else None


async def run_kopf(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    namespace: str,
    stop: asyncio.Event,
    started: asyncio.Event,
    take_signals: Callable[[], None],
) -> None:
    """Run kopf until `stop` is set, or until it ends by itself; raises what kopf raises.

    At its end kopf cancels every task that began after it, so the process's others must have begun
    before.  At its start it takes SIGTERM and SIGINT; `take_signals` must undo that.
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
    """Log the error of a task that nothing waits for: kopf's in a line, others as asyncio does.

    kopf asks for all API groups at once and waits no more once one request has failed, so without
    this an outage of the Kubernetes API would log a traceback for each of the others.
    """
    task, error = context.get("future"), context.get("exception")
    if isinstance(task, asyncio.Task) and error is not None and _is_of_kopf(task):
        _logger.warning("kopf gave up a request: %s: %s", type(error).__name__, error)
    else:
        loop.default_exception_handler(context)


def _is_of_kopf(task: asyncio.Task[object]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and _KOPF in Path(code.co_filename).parents
