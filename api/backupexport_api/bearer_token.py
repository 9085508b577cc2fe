"""The Authorization header of a request."""

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from backupexport_api import problems
from backupexport_api.authentication import Caller


class BearerToken(SecurityBase):
    """The dependency that authenticates, and by its model tells OpenAPI's readers how.

    FastAPI's own HTTPBearer would be one dependency more, and takes the first of two headers.
    """

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "bearer"

    async def __call__(self, request: Request) -> Caller:
        """Tell who is calling; ProblemError where nobody is."""
        given = request.headers.getlist("Authorization")
        if len(given) > 1:
            raise problems.token_invalid("there is more than one Authorization header")
        scheme, _, token = given[0].partition(" ") if given else ("", "", "")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise problems.token_missing()
        caller: Caller = await request.app.state.authenticator.caller_of(token)
        request.state.subject = caller.subject
        return caller
