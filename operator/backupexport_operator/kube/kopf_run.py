"""Nothing for kopf to keep on the resources.

It keeps what handlers of changes have handled and how far they are; we have none of these, and
without these two it copies each resource whole for every event (a sixth of the operator's time).
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kopf


class NoDiffBase(kopf.DiffBaseStorage):
    """No copy of what was handled last."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Nothing was handled."""
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """No progress of handlers."""

    def fetch(self, **_: Any) -> None:
        """No handler has begun."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing."""

    def touch(self, **_: Any) -> None:
        """There is nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Nothing of ours is in it."""
        return essence


class KopfConnection(kopf.ConnectionInfo):
    """Trusts what kubectl trusts, see `kubernetes_client.connect`."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """As kopf's, without what Python 3.13 is strict about beyond chain, name and dates."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def login(**kwargs: Any) -> KopfConnection | None:
    """The pod's service account, else the kubeconfig's user; None where there is neither."""
    found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    return KopfConnection(**vars(found)) if found is not None else None


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
