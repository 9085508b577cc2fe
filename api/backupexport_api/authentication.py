"""Who is calling: a JWT from the Authorization header."""

from dataclasses import dataclass
from typing import Any

import jwt
from jwt.exceptions import InvalidSubjectError

from backupexport_api import problems
from backupexport_api.authorization import MalformedClaimError, ProjectAccess
from backupexport_api.settings import Settings

# Clocks of two machines that both run NTP differ by less.
_LEEWAY_SECONDS = 5

# What a client is told; anything else about a token stays between us and the log.
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.MissingRequiredClaimError, "a required claim is missing"),
    (jwt.InvalidAudienceError, "it is meant for another audience"),
    (jwt.InvalidIssuerError, "it comes from another issuer"),
    (InvalidSubjectError, "its sub is not text"),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling and what they may touch."""

    subject: str
    access: ProjectAccess


class Authenticator:
    """Checks tokens against one configuration; the algorithm is never the token's choice."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options: dict[str, Any] = {
            "require": ["exp", "sub"],
            "enforce_minimum_key_length": True,
            "verify_aud": settings.jwt_audience is not None,
            "verify_iss": settings.jwt_issuer is not None,
        }

    def caller_of(self, token: str) -> Caller:
        """Tell who `token` speaks for; ProblemError (401) where it is not good."""
        claims = self._claims_of(token)
        subject = claims["sub"]
        if not subject.strip():
            raise problems.token_invalid("its sub is empty")
        if not _is_unicode(subject):
            raise problems.token_invalid("its sub is not text")
        try:
            access = ProjectAccess.of(
                claims, self._settings.jwt_projects_claim, self._settings.tokens_without_projects
            )
        except MalformedClaimError as error:
            raise problems.token_invalid(str(error)) from None
        return Caller(subject, access)

    def _claims_of(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._settings.jwt_secret.get_secret_value(),
                algorithms=list(self._settings.jwt_algorithms),
                options=self._options,  # type: ignore[arg-type]
                issuer=self._settings.jwt_issuer,
                audience=self._settings.jwt_audience,
                leeway=_LEEWAY_SECONDS,
            )
        # Beside PyJWT's own: 1e999 is no int, and a header of brackets alone nests too deep.
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise problems.token_invalid(_reason_of(error)) from None


def _reason_of(error: Exception) -> str:
    return next(
        (reason for kind, reason in _REASONS if isinstance(error, kind)),
        "it is malformed or its signature does not match",
    )


def _is_unicode(text: str) -> bool:
    """Whether `text` has no lone surrogates, which JSON can spell and UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
