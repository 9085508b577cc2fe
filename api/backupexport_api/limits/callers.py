"""Dependencies of routes: they authenticate a caller and count; ProblemError (401, 429, 503)."""

from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from backupexport_api.auth.authentication import BearerToken, Caller
from backupexport_api.limits.rate_limit import RateLimits


class _Reading(BearerToken):
    """Counts a read.  Two dependencies, one to authenticate, would cost each poll more."""

    async def __call__(self, request: Request) -> Caller:
        caller = await super().__call__(request)
        request.app.state.rate_limits.check_read(request)
        return caller


class _Exporting(BearerToken):
    async def __call__(self, request: Request) -> Caller:
        caller = await super().__call__(request)
        limits: RateLimits = request.app.state.rate_limits
        if limits.counting_exports_blocks:
            await to_thread.run_sync(limits.check_export, request)
        else:
            limits.check_export(request)
        return caller


reading_caller = _Reading()
exporting_caller = _Exporting()
ReadingCaller = Annotated[Caller, Depends(reading_caller)]
ExportingCaller = Annotated[Caller, Depends(exporting_caller)]
