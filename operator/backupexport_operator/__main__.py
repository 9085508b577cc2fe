"""`backupexport-operator`: runs until SIGTERM or SIGINT.

`backupexport-operator before-uninstall`: takes our finalizer off every BackupExport, and deletes
the Jobs that have ended.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys

import kopf
from backupexport_runtime import logs
from backupexport_runtime.settings_errors import SETTINGS_ERRORS, complaints

from backupexport_operator.cleanup import finalizers
from backupexport_operator.handlers import build_registry, configure
from backupexport_operator.kube.client import connect
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.kopf_run import run_kopf
from backupexport_operator.leader.election import Leadership, silence_leaders, steady_clock
from backupexport_operator.leader.lease import LeaseStore
from backupexport_operator.leader.supervisor import (
    RepeatedFaultError,
    StuckError,
    Supervisor,
    Term,
)
from backupexport_operator.observed.watch_health import WatchHealth
from backupexport_operator.settings import Settings
from backupexport_operator.telemetry import http_server
from backupexport_operator.telemetry.metrics import OperatorMetrics
from backupexport_operator.wiring import WATCHED

_logger = logging.getLogger(__name__)

# This client is for the Lease, whose requests must not wait for others, and for the finalizers.
_POOL_SIZE = 4
# No replica leads again for so long, until helm has deleted them all.
_QUIET_SECONDS = 30.0
_RELEASE_SECONDS = 90.0


def main() -> int:
    """Returns the exit status: 0 after a signal, 1 after a failure, 2 if the settings are wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs="?", choices=["run", "before-uninstall"], default="run")
    command = parser.parse_args().command
    try:
        settings = Settings()
    except SETTINGS_ERRORS as error:
        for line in complaints(error):
            sys.stderr.write(f"backupexport-operator: {line}\n")
        return 2
    # kopf and the HTTP client log much that says nothing below warnings.
    chatty = () if settings.log_level == "debug" else ("kopf", "aiohttp", "asyncio")
    logs.configure(
        settings.log_level, settings.log_format, quiet=[(name, logging.WARNING) for name in chatty]
    )
    if command == "before-uninstall":
        return asyncio.run(_let_go(settings))
    _logger.info("serving namespace %s", settings.namespace)
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    api_client = await connect(_POOL_SIZE)
    namespace = settings.namespace
    metrics = OperatorMetrics(settings.metrics_projects)
    store = LeaseStore(api_client, namespace, settings.lease_name)
    leadership = Leadership(store, settings.identity, settings.lease_timings)

    async def work(term: Term) -> None:
        kopf_settings = kopf.OperatorSettings()
        configure(kopf_settings)
        registry = build_registry(settings, metrics, term.watches, leadership.seconds_to_write)
        await run_kopf(registry, kopf_settings, namespace, term.stop, term.started, take_signals)

    async def farewell() -> None:
        if await finalizers.namespace_is_terminating(api_client, namespace):
            await finalizers.release_finalizers(api_client, namespace)

    supervisor = Supervisor(
        leadership,
        work,
        farewell,
        lambda: WatchHealth(WATCHED, steady_clock),
        dead_watch_seconds=2 * settings.resync_seconds,
        silence_seconds=3 * settings.lease_seconds,
    )

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)

    take_signals()
    try:
        # Alive is who answers: what a new process may cure ends this one by itself.
        probes = list, supervisor.readiness_failures
        async with http_server.serving(*probes, metrics.registry, settings.http_port):
            await supervisor.run()
    except RepeatedFaultError as error:
        _logger.critical("this process ends: %s", error)
        return 1
    except StuckError:
        _logger.critical("this process ends without a clean-up", exc_info=True)
        # A task that can't be cancelled would hold up a normal exit, too.
        os._exit(1)
    finally:
        await api_client.close()
    return 0


async def _let_go(settings: Settings) -> int:
    api_client = await connect(_POOL_SIZE)
    try:
        async with api_client, asyncio.timeout(_RELEASE_SECONDS):
            store = LeaseStore(api_client, settings.namespace, settings.lease_name)
            # A leader would put the finalizer on the next export meanwhile.
            await silence_leaders(store, settings.identity, settings.lease_timings, _QUIET_SECONDS)
            released = await finalizers.release_finalizers(api_client, settings.namespace)
            deleted = await Cluster(api_client, settings.namespace).delete_needless_jobs()
    except Exception:
        _logger.exception("finalizers and ended Jobs may be left")
        return 1
    _logger.info("took the finalizer off %d exports, deleted %d Jobs", released, deleted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
