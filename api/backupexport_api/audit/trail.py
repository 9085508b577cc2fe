"""Writes the audit trail: a JSON line for each event, to standard output.

It is a logger of its own: whatever the log's level and format are, every event is a line.
"""

import ipaddress
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from backupexport_contract import names, timestamps
from fastapi import Request, Response

from backupexport_api.audit.record import LOGGER, Action, AuditRecord
from backupexport_api.auth.authentication import Caller
from backupexport_api.http import problems
from backupexport_api.http.problems import ProblemError
from backupexport_api.kube.errors import StoreUnavailableError

_log = logging.getLogger(LOGGER)
_log.setLevel(logging.INFO)


def configure() -> None:
    """Send the trail to standard output, and nowhere else."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _log.handlers = [handler]
    _log.propagate = False


def about(request: Request, **facts: str | None) -> None:
    """Add what has been found out (fields of AuditRecord) to the request's records from now on."""
    state = request.state
    state.audit_facts = {**getattr(state, "audit_facts", {}), **facts}


def note(request: Request, action: Action, outcome: str, *, size: int | None = None) -> None:
    """Record that `action` has come to `outcome`; `size`: in bytes."""
    caller: Caller | None = getattr(request.state, "caller", None)
    route = getattr(request.scope.get("route"), "path", None)
    record = AuditRecord(
        time=timestamps.to_text(timestamps.now()),
        action=action,
        outcome=outcome,
        request_id=request.state.request_id,
        route=route and f"{request.method} {route}",
        client=_address(request),
        subject=caller and caller.subject,
        issuer=caller and caller.issuer,
        token_id=caller and caller.token_id,
        bytes=size,
        **getattr(request.state, "audit_facts", {}),
    )
    _log.info(record.line())


@contextmanager
def unanswered_noted(request: Request, action: Action) -> Iterator[None]:
    """Record a change that the Kubernetes API may have made without saying so."""
    try:
        yield
    except StoreUnavailableError:
        note(request, action, "unanswered")
        raise


async def answer_problem(request: Request, error: ProblemError) -> Response:
    """Answer a problem, and record a refusal; the handler of an app."""
    if error.status in (401, 403):
        job = request.path_params.get("job_id", "")
        if names.is_uuid(job):
            about(request, job=job)
        note(request, "refusal", error.code)
    answer: Response = await problems.HANDLERS[ProblemError](request, error)
    return answer


def _address(request: Request) -> str | None:
    """Return the client's address; a proxy that is trusted may write something else there."""
    try:
        return str(ipaddress.ip_address(request.client.host)) if request.client else None
    except ValueError:
        return None
