"""Starts the API: reads the settings, finds the cluster, serves until a signal ends it."""

import asyncio
import logging
import resource
import signal
import sys

import uvicorn
from backupexport_runtime import logs
from backupexport_runtime.settings_errors import ENV_PREFIX, SETTINGS_ERRORS, complaints
from limits.errors import ConfigurationError

from backupexport_api.app import create_app, create_health_app
from backupexport_api.audit import trail
from backupexport_api.http.connections import Connections
from backupexport_api.http.draining import DrainingServer
from backupexport_api.http.request_context import request_id
from backupexport_api.jobs.store import JobStore
from backupexport_api.kube.client import KubernetesObjects, connect_lists
from backupexport_api.kube.errors import CONFIGURATION_ERRORS
from backupexport_api.settings import ApiSettings
from backupexport_api.telemetry.metrics import Metrics

# The kubelet has one at a time, Prometheus keeps one.
_MOST_HEALTH_CONNECTIONS = 100
# Downloads, calls to the Kubernetes API, watches, probes.
_OTHER_FILES = 300

_log = logging.getLogger(__name__)


def main() -> int:
    """Serve; return exit code 2, with a line for each mistake, where the configuration is wrong."""
    try:
        settings = ApiSettings()
    except SETTINGS_ERRORS as error:
        return _refuse(*complaints(error))
    logs.configure(
        settings.log_level,
        settings.log_format,
        # urllib3 tells of every retry; what fails for good we say ourselves.
        quiet=[("urllib3", logging.ERROR)],
        context=lambda: {"request_id": request_id.get()},
    )
    trail.configure()
    try:
        list_objects = connect_lists(settings.namespace)
        objects = asyncio.run(KubernetesObjects.connect(settings.namespace))
    except CONFIGURATION_ERRORS as error:
        return _refuse(f"no Kubernetes cluster: {error}")
    _allow_open_files(settings.most_connections)
    metrics = Metrics()
    store = JobStore(list_objects, objects, metrics.observe_call)
    try:
        app = create_app(settings, store, metrics)
    except ConfigurationError as error:
        return _refuse(f"{ENV_PREFIX}RATE_LIMIT_STORAGE_URL: {error}")
    connections = Connections(
        settings, metrics.observe_request, metrics.count_cut, metrics.connections.set
    )
    few = settings.model_copy(update={"most_connections": _MOST_HEALTH_CONNECTIONS})
    health = Connections(few, metrics.observe_request, metrics.count_cut)
    server = DrainingServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=connections.protocol(),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            # Longer than proxies keep theirs, so that none uses one that is just being closed.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=10,
        ),
        settings.drain_seconds,
        app.state.event_streams.end_all,
        (settings.health_port, health.protocol(create_health_app(app)))
        if settings.health_port
        else None,
    )
    # Until the server listens, and for what it raises again when it has ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _log.info("serving namespace %s", settings.namespace)
    app.state.authenticator.start()
    store.start()
    try:
        server.run()
    except KeyboardInterrupt:
        _log.info("interrupted")
    finally:
        store.stop()
        app.state.authenticator.stop()
    return 0 if server.started else 1


def _allow_open_files(most_connections: int) -> None:
    """Raise the limit of open files as far as needed: without one to spare nothing is accepted."""
    wanted = most_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            _log.warning(
                "at most %d files may be open: BACKUPEXPORT_MOST_CONNECTIONS should be %d",
                *(allowed, max(1, allowed - _OTHER_FILES)),
            )


def _refuse(*lines: str) -> int:
    for line in lines:
        sys.stderr.write(f"backupexport-api: {line}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
