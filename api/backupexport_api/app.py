"""Makes the ASGI app out of the packages' parts; all that requests share is in `app.state`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from backupexport_api.audit import trail
from backupexport_api.auth import routes as client_routes
from backupexport_api.auth.authentication import Authenticator
from backupexport_api.auth.client_configuration import ClientConfiguration
from backupexport_api.downloads import routes as download_routes
from backupexport_api.downloads.service import Downloads
from backupexport_api.events import routes as event_routes
from backupexport_api.events.streams import EventStreams
from backupexport_api.http import openapi, problems, routing, security_headers
from backupexport_api.http.problems import ProblemError
from backupexport_api.http.request_context import RequestContextMiddleware
from backupexport_api.jobs import routes as job_routes
from backupexport_api.jobs.store import JobStore
from backupexport_api.limits.rate_limit import RateLimits
from backupexport_api.projects import routes as project_routes
from backupexport_api.settings import ApiSettings
from backupexport_api.telemetry import routes as telemetry_routes
from backupexport_api.telemetry.metrics import Metrics
from backupexport_api.web import routes as page_routes

_ROUTES = (
    job_routes,
    event_routes,
    download_routes,
    project_routes,
    client_routes,
    telemetry_routes,
    page_routes,
)


def create_app(settings: ApiSettings, store: JobStore, measured: Metrics) -> FastAPI:
    """Return the ASGI app that serves `store`; the caller starts and stops the store."""
    app = FastAPI(
        title="backupexport",
        description="Self-service exports of PostgreSQL databases on Kubernetes.",
        version=_version(),
        lifespan=_lifespan,
        exception_handlers={**problems.HANDLERS, ProblemError: trail.answer_problem},
        # A redirect would make a client send its token and its body twice.
        redirect_slashes=False,
        # FastAPI's own pages load their scripts from another host.
        docs_url=None,
        redoc_url=None,
    )
    measured.watch(store)
    app.state.metrics = measured
    app.state.store = store
    app.state.authenticator = Authenticator(settings)
    app.state.projects_claim = settings.jwt_projects_claim
    app.state.event_streams = EventStreams(settings, measured.event_streams)
    app.state.downloads = Downloads(settings, store, measured)
    app.state.client_configuration = ClientConfiguration.of(
        settings, downloads=app.state.downloads.are_on, version=app.version
    )
    app.state.rate_limits = RateLimits(settings, measured.count_refusal)
    app.add_middleware(
        RequestContextMiddleware,
        observe=measured.observe_request,
        body_seconds=settings.request_body_seconds,
        headers=security_headers.for_answers(settings.public_url),
    )
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    # Not include_router: it makes one router more for each module, and requests pass all of them.
    for module in _ROUTES:
        app.router.routes.extend(module.router.routes)
    if settings.metrics_on_public_port:
        app.router.routes.extend(telemetry_routes.metrics_router.routes)
    routing.answer_head(app.routes)
    openapi.install(app)
    return app


def create_health_app(api: FastAPI) -> FastAPI:
    """Return the ASGI app of the second port: the probes and the metrics of `api`."""
    app = FastAPI(
        exception_handlers=problems.HANDLERS,
        redirect_slashes=False,
        openapi_url=None,
    )
    app.state = api.state
    app.user_middleware = api.user_middleware
    app.router.routes = [
        *telemetry_routes.router.routes,
        *telemetry_routes.metrics_router.routes,
    ]
    routing.answer_head(app.routes)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    store: JobStore = app.state.store
    await store.close()


def _version() -> str:
    try:
        return metadata.version("backupexport")
    except metadata.PackageNotFoundError:
        return "0"
