"""Who is calling: the JWT in a request's Authorization header, checked against configured keys."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from jwt.exceptions import InvalidSubjectError

from backupexport_api.auth import keys as signing_keys
from backupexport_api.auth.claims import (
    BadClaimsError,
    ProjectAccess,
    expiry_of,
    subject_of,
    text_of,
)
from backupexport_api.auth.jwks import JwksFetch, JwksSource
from backupexport_api.auth.keys import KeySet, KeysUnavailableError, SigningKey
from backupexport_api.auth.secret_files import FileKeys
from backupexport_api.auth.settings import JwtSettings, keys_in_files
from backupexport_api.http.problems import ProblemError, problem

_log = logging.getLogger(__name__)

LONGEST_TOKEN = 8192

# Enough for the callers of some minutes, and a few MiB at most.
_MOST_REMEMBERED = 512

# What a client is told; anything else about a token stays between us and the log.
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.MissingRequiredClaimError, "a required claim is missing"),
    (jwt.InvalidAudienceError, "it is meant for another audience"),
    (jwt.InvalidIssuerError, "it comes from another issuer"),
    (InvalidSubjectError, "its sub is not text"),
)

# Beside PyJWT's own: 1e999 is no int, and a header of brackets alone nests too deep.
_DECODE_ERRORS = (jwt.PyJWTError, ValueError, OverflowError, RecursionError)


KeySource = KeySet | JwksSource | FileKeys


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, for which projects, and by which token."""

    subject: str
    access: ProjectAccess
    expires_at: float
    """When the token stops being good, in seconds since 1970."""
    issuer: str | None = None
    token_id: str | None = None


@dataclass(frozen=True, slots=True)
class _CheckedToken:
    """A token that was accepted: it stays so until it expires or its source has other keys."""

    caller: Caller
    source: KeySource
    keys: KeySet

    def is_still_good(self) -> bool:
        return self.source.current() is self.keys and time.time() < self.caller.expires_at


# FastAPI's own HTTPBearer would be one dependency more, and takes the first of two headers.
class BearerToken(SecurityBase):
    """The dependency that authenticates a request; its model describes that in OpenAPI."""

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "bearer"

    async def __call__(self, request: Request) -> Caller:
        """Return who is calling, and note its subject; raises ProblemError (401, 503)."""
        given = request.headers.getlist("Authorization")
        if len(given) > 1:
            raise token_invalid("there is more than one Authorization header")
        scheme, _, token = given[0].partition(" ") if given else ("", "", "")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise token_missing()
        caller: Caller = await request.app.state.authenticator.caller_of(token)
        request.state.subject = caller.subject
        request.state.caller = caller
        return caller


class Authenticator:
    """Checks tokens with the keys of one configuration; a token never chooses its algorithm."""

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self._jwks: JwksSource | None = None
        self._sources: dict[str, KeySource] = {}
        # By a hash, so that no memory dump holds a token that could be used.
        self._remembered: dict[bytes, _CheckedToken] = {}
        self._options: dict[str, Any] = {
            "require": ["exp", "sub"],
            "enforce_minimum_key_length": True,
            "verify_aud": settings.jwt_audience is not None,
            "verify_iss": settings.jwt_issuer is not None,
        }
        # Each configured algorithm has its source of keys; no other algorithm has one.
        with_secret, with_public_key = signing_keys.by_kind_of_key(settings.jwt_algorithms)
        secret = settings.jwt_secret.get_secret_value()
        configured = signing_keys.keys_of_secret(secret, with_secret)
        if settings.jwt_jwks_url is not None:
            self._jwks = JwksSource(
                JwksFetch(settings.jwt_jwks_url),
                with_public_key,
                refresh_seconds=settings.jwt_jwks_refresh_seconds,
                max_age_seconds=settings.jwt_jwks_max_age_seconds,
            )
            self._sources |= dict.fromkeys(with_public_key, self._jwks)
        elif with_public_key:
            configured += signing_keys.keys_of_pem(settings.jwt_public_key, with_public_key)
        configured_keys = KeySet(configured)
        self._sources |= {key.algorithm: configured_keys for key in configured}
        self._sources |= keys_in_files(settings)

    def start(self) -> None:
        """Start the thread that reads the JWK set, where one is configured."""
        if self._jwks is None:
            return
        if str(self._settings.jwt_jwks_url).lower().startswith("http:"):
            _log.warning(
                "the keys that check tokens come over plain http: whoever can change them on "
                "their way can make tokens"
            )
        self._jwks.start()

    def stop(self) -> None:
        """End what `start` began."""
        if self._jwks is not None:
            self._jwks.stop()

    def unready(self) -> list[str]:
        """Return why tokens can't be checked now, a phrase for each cause; empty when they can."""
        return [] if self._jwks is None else self._jwks.unready()

    async def caller_of(self, token: str) -> Caller:
        """Return who `token` speaks for; waits for a new key; raises ProblemError (401, 503)."""
        if len(token) > LONGEST_TOKEN:
            raise token_invalid(f"it is longer than {LONGEST_TOKEN} characters")
        digest = hashlib.sha256(token.encode()).digest()
        try:
            known = self._remembered.get(digest)
            if known is not None and known.is_still_good():
                return known.caller
            known = await self._checked(token)
        except KeysUnavailableError:
            raise keys_unavailable() from None
        self._remember(digest, known)
        return known.caller

    async def _checked(self, token: str) -> _CheckedToken:
        algorithm, key_id = _header_of(token, self._settings.jwt_type)
        source = self._sources.get(algorithm)
        if source is None:
            raise token_invalid("its algorithm is not accepted")
        keys = source.current()
        matching = keys.matching(algorithm, key_id)
        if not matching and await source.refreshed():
            keys = source.current()
            matching = keys.matching(algorithm, key_id)
        if not matching:
            raise token_invalid("it was signed with a key that is not known")
        claims = self._claims_of(token, matching)
        try:
            subject, settings = subject_of(claims), self._settings
            access = ProjectAccess.of(
                claims, settings.jwt_projects_claim, settings.tokens_without_projects
            )
            caller = Caller(
                subject,
                access,
                expiry_of(claims) + settings.jwt_leeway_seconds,
                text_of(claims, "iss"),
                text_of(claims, "jti"),
            )
        except BadClaimsError as error:
            raise token_invalid(str(error)) from None
        return _CheckedToken(caller, source, keys)

    def _claims_of(self, token: str, keys: Sequence[SigningKey]) -> dict[str, Any]:
        """Return the claims if one of `keys` has signed `token`; raises ProblemError (401)."""
        refusal: Exception | None = None
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.jwk,
                    algorithms=[key.algorithm],
                    options=self._options,  # type: ignore[arg-type]
                    issuer=self._settings.jwt_issuer,
                    audience=self._settings.jwt_audience,
                    leeway=self._settings.jwt_leeway_seconds,
                )
            except jwt.InvalidSignatureError as error:
                refusal = error
            except _DECODE_ERRORS as error:
                refusal = error
                break
        raise token_invalid(_reason_of(refusal))

    def _remember(self, digest: bytes, found: _CheckedToken) -> None:
        self._remembered.pop(digest, None)
        if len(self._remembered) >= _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = found


keys_unavailable = problem(
    503,
    "signing_keys_unavailable",
    "The keys that check tokens can't be read for now. Try again in a moment.",
)
# RFC 6750, 3.1: such a challenge has no error code.
token_missing = problem(
    401,
    "token_missing",
    "Send a token: Authorization: Bearer <jwt>.",
    **{"WWW-Authenticate": 'Bearer realm="backupexport"'},
)


def token_invalid(why: str) -> ProblemError:
    """Return the 401 for a token that is refused; `why` is our text, never the token's."""
    challenge = f'Bearer realm="backupexport", error="invalid_token", error_description="{why}"'
    headers = {"WWW-Authenticate": challenge}
    return ProblemError(401, "token_invalid", f"The token was refused: {why}.", headers=headers)


def _header_of(token: str, wanted_type: str | None) -> tuple[str, str | None]:
    """Return the algorithm and the key id in the token's header, which are not checked yet.

    Keys that a token brings along or leads to (jku, jwk, x5c, x5u) prove nothing: many issuers send
    them, and nobody here looks at them.
    """
    try:
        header = jwt.get_unverified_header(token)
    except _DECODE_ERRORS as error:
        raise token_invalid(_reason_of(error)) from None
    # RFC 7515, 4.1.11: no extension of JWS is understood here.
    if "crit" in header:
        raise token_invalid("its header holds crit")
    if wanted_type is not None and not _is_type(header.get("typ"), wanted_type):
        raise token_invalid("its header says another type than is asked for")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise token_invalid("its algorithm is not accepted")
    return algorithm, header.get("kid")


def _is_type(given: Any, wanted: str) -> bool:
    return isinstance(given, str) and _full_type(given) == _full_type(wanted)


def _full_type(media_type: str) -> str:
    """Return it as RFC 7515, 4.1.9 compares it: without case, `application/` before a bare one."""
    return (media_type if "/" in media_type else f"application/{media_type}").lower()


def _reason_of(error: Exception | None) -> str:
    return next(
        (reason for kind, reason in _REASONS if isinstance(error, kind)),
        "it is malformed or its signature does not match",
    )
