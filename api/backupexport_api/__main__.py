"""Starts the API: reads the settings, finds the cluster, serves until a signal ends it."""

import asyncio
import logging
import signal
import sys

import uvicorn
from backupexport_runtime import logs
from backupexport_runtime.settings_errors import ENV_PREFIX, SETTINGS_ERRORS, complaints
from limits.errors import ConfigurationError

from backupexport_api.app import create_app
from backupexport_api.audit import trail
from backupexport_api.http.draining import DrainingServer
from backupexport_api.http.request_context import request_id
from backupexport_api.http.transport import HttpProtocol
from backupexport_api.jobs.store import JobStore
from backupexport_api.kube.client import KubernetesObjects, connect_lists
from backupexport_api.kube.errors import CONFIGURATION_ERRORS
from backupexport_api.settings import ApiSettings
from backupexport_api.telemetry.metrics import Metrics


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
    metrics = Metrics()
    store = JobStore(list_objects, objects, metrics.observe_call)
    try:
        app = create_app(settings, store, metrics)
    except ConfigurationError as error:
        return _refuse(f"{ENV_PREFIX}RATE_LIMIT_STORAGE_URL: {error}")
    server = DrainingServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=HttpProtocol,
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
    )
    # Until the server listens, and for what it raises again when it has ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.getLogger(__name__).info("serving namespace %s", settings.namespace)
    app.state.authenticator.start()
    store.start()
    try:
        server.run()
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("interrupted")
    finally:
        store.stop()
        app.state.authenticator.stop()
    return 0 if server.started else 1


def _refuse(*lines: str) -> int:
    for line in lines:
        sys.stderr.write(f"backupexport-api: {line}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
