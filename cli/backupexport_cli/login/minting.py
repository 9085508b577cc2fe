"""Making HS256 tokens where the server's secret is at hand, as `backupexport-token` does."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from backupexport_contract import rules

from backupexport_cli.errors import CliError, ExitCode

EVERY_PROJECT = "*"
# RFC 7518, 3.2: a secret has at least the size of the hash.
SHORTEST_SECRET_BYTES = 32
# The api takes no longer one.
LONGEST_SUBJECT = 1024

# RFC 7519, 4.1.
_OTHER_CLAIMS = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti")

_TTL = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Grant:
    """Who a token is for, what it is good for, and until when."""

    subject: str
    projects: tuple[str, ...]
    ttl: timedelta
    issuer: str | None = None
    audience: str | None = None
    projects_claim: str = "projects"


def grant_of(
    subject: str, projects: list[str], ttl: str, *, every_project: bool, **more: Any
) -> Grant:
    """Return what the options ask for; raises CliError."""
    if not subject.strip() or len(subject) > LONGEST_SUBJECT:
        raise CliError(
            ExitCode.USAGE,
            f"The subject must be 1 to {LONGEST_SUBJECT} characters long.",
            "Say who the token is for, as in --subject alice.",
        )
    if every_project == bool(projects):
        raise CliError(
            ExitCode.USAGE,
            "A token is for some projects, or for every project.",
            "Give --project for each of them, or --all-projects.",
        )
    if more.get("projects_claim") in _OTHER_CLAIMS:
        raise CliError(
            ExitCode.USAGE,
            f"The claim {more['projects_claim']} has another meaning in every token.",
            "Give the name that the server has in auth.jwt.projectsClaim as --projects-claim.",
        )
    for project in projects:
        if broken := rules.first_broken(rules.PROJECT_ID, project):
            raise CliError(
                ExitCode.USAGE,
                f"A project's id {broken.message}.",
                "Correct --project (--all-projects is for all of them).",
            )
    return Grant(subject, tuple(projects) or (EVERY_PROJECT,), _duration(ttl), **more)


def mint(grant: Grant, secret: str, now: datetime) -> str:
    """Return a token; raises CliError where the secret is unfit."""
    if len(secret.encode("utf-8", "surrogateescape")) < SHORTEST_SECRET_BYTES:
        raise CliError(
            ExitCode.USAGE,
            f"The secret is shorter than the {SHORTEST_SECRET_BYTES} bytes that HS256 asks for.",
            "Give the server's own secret, the one in its Secret or its environment.",
        )
    # No iat: nobody asks for it, and a server whose clock is behind would take the token for one
    # that is not good yet.
    claims: dict[str, Any] = {
        "sub": grant.subject,
        "exp": now + grant.ttl,
        grant.projects_claim: list(grant.projects),
    }
    if grant.issuer:
        claims["iss"] = grant.issuer
    if grant.audience:
        claims["aud"] = grant.audience
    try:
        return jwt.encode(claims, secret, algorithm="HS256")
    except (jwt.PyJWTError, ValueError):
        raise CliError(
            ExitCode.USAGE,
            "The secret is a key or a certificate, or no text at all.",
            "Give the server's own secret, a random text; tokens that are signed with a private"
            " key are made by its issuer.",
        ) from None


def pod_command(grant: Grant, ttl: str) -> list[str]:
    """Return the program in the api's pod that makes such a token, as arguments of `exec`."""
    # With =, so that a project's id that begins with a dash is no option.
    projects = (
        ["--all-projects"]
        if grant.projects == (EVERY_PROJECT,)
        else [f"--project={project}" for project in grant.projects]
    )
    more = [
        f"--{name}={value}"
        for name, value in (("issuer", grant.issuer), ("audience", grant.audience))
        if value
    ]
    return ["backupexport-token", f"--subject={grant.subject}", *projects, f"--ttl={ttl}", *more]


def _duration(text: str) -> timedelta:
    match = _TTL.fullmatch(text)
    if match is None:
        raise CliError(
            ExitCode.USAGE,
            "How long a token is good must be a number with a unit.",
            "Give one such as --ttl 30s, 15m, 1h or 7d.",
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
