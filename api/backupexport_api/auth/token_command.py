"""`backupexport-token` makes a token; no secret is in its command line, which all can read."""

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import jwt
from backupexport_contract import rules, timestamps
from backupexport_runtime.settings_errors import ENV_PREFIX, SETTINGS_ERRORS, complaints

from backupexport_api.auth.claims import EVERY_PROJECT
from backupexport_api.auth.settings import JwtSettings

_NO_HS256 = (
    f"{ENV_PREFIX}JWT_ALGORITHMS does not accept HS256, and other tokens are signed with a key"
    " that is not here: ask the issuer whose keys are configured for one"
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a token; return exit code 2 where there is no secret for HS256 that can be used."""
    options = _parser().parse_args(arguments)
    try:
        settings = JwtSettings()
    except SETTINGS_ERRORS as error:
        for line in complaints(error):
            sys.stderr.write(f"backupexport-token: {line}\n")
        return 2
    if "HS256" not in settings.jwt_algorithms:
        sys.stderr.write(f"backupexport-token: {_NO_HS256}\n")
        return 2
    secret = settings.jwt_secret.get_secret_value()
    header = {"typ": settings.jwt_type} if settings.jwt_type else None
    token = jwt.encode(_claims(options, settings), secret, algorithm="HS256", headers=header)
    sys.stdout.write(f"{token}\n")
    return 0


def _claims(options: argparse.Namespace, settings: JwtSettings) -> dict[str, Any]:
    now = timestamps.now()
    claims: dict[str, Any] = {"sub": options.subject, "iat": now, "exp": now + options.ttl}
    claims[settings.jwt_projects_claim] = options.project or [EVERY_PROJECT]
    if issuer := options.issuer or settings.jwt_issuer:
        claims["iss"] = issuer
    if audience := options.audience or settings.jwt_audience:
        claims["aud"] = audience
    return claims


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backupexport-token",
        description="Make an HS256 token from BACKUPEXPORT_JWT_SECRET(_FILE).",
    )
    parser.add_argument("--subject", required=True, help="the claim sub: who the token is for")
    # What a token without them may use is a setting of the api, which may change.
    projects = parser.add_mutually_exclusive_group(required=True)
    projects.add_argument(
        "--project",
        action="append",
        type=_project_id,
        metavar="ID",
        help="a project the token is good for; may be repeated",
    )
    projects.add_argument("--all-projects", action="store_true", help="good for every project")
    durations = "how long it is good: 30s, 15m, 1h, 7d"
    parser.add_argument("--ttl", type=_duration, default="1h", help=durations)
    parser.add_argument("--issuer", help="the claim iss; BACKUPEXPORT_JWT_ISSUER unless given")
    parser.add_argument("--audience", help="the claim aud; BACKUPEXPORT_JWT_AUDIENCE unless given")
    return parser


def _project_id(text: str) -> str:
    if broken := rules.first_broken(rules.PROJECT_ID, text):
        raise argparse.ArgumentTypeError(f"{broken.message} (--all-projects is for all of them)")
    return text


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError("must be a number with a unit, such as 30s, 15m, 1h, 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


if __name__ == "__main__":
    sys.exit(main())
