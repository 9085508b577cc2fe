"""Who a token speaks for, in words and as JSON: what it says itself, checked by nobody here."""

from datetime import datetime
from typing import Any

from backupexport_contract import timestamps
from backupexport_contract.readable import readable_duration

from backupexport_cli.login.claims import Claims, claims_of
from backupexport_cli.login.contexts import Context
from backupexport_cli.output.clean import clean

_MOST_PROJECTS = 20


def document(context: Context, token: str) -> dict[str, Any]:
    """Return the summary for programs."""
    claims = claims_of(token) or Claims()
    return {
        "server": context.place,
        "context": context.name or None,
        "subject": claims.subject,
        "issuer": claims.issuer,
        "projects": None if claims.projects is None else list(claims.projects),
        "expires_at": None if claims.expires is None else timestamps.to_text(claims.expires),
    }


def lines(context: Context, token: str, now: datetime) -> list[str]:
    """Return the summary for people."""
    claims = claims_of(token)
    if claims is None:
        return [f"Server    {clean(context.place, 300)}", "Token     no JWT: it says nothing"]
    shown = {
        "Server": context.place,
        "Subject": claims.subject or "none",
        "Issuer": claims.issuer or "not said",
        "Projects": _projects(claims),
        "Expires": _expiry(claims.expires, now),
    }
    return [f"{name:<9} {clean(value, 1000)}" for name, value in shown.items()]


def _projects(claims: Claims) -> str:
    if claims.projects is None:
        return "not said: the server's settings decide"
    if "*" in claims.projects:
        return "all"
    more = len(claims.projects) - _MOST_PROJECTS
    named = ", ".join(clean(project, 100) for project in claims.projects[:_MOST_PROJECTS])
    return f"{named} and {more} more" if more > 0 else named or "none"


def _expiry(expires: datetime | None, now: datetime) -> str:
    if expires is None:
        return "not said"
    moment = f"{expires:%Y-%m-%d %H:%M} UTC"
    # The two clocks may differ; the server's decides.
    seconds = (expires - now).total_seconds()
    if seconds < 0:
        return f"{moment} ({readable_duration(-seconds)} ago, by this machine's clock)"
    return f"{moment} (in {readable_duration(seconds)}, by this machine's clock)"
