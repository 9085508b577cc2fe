"""The settings of tokens: the keys that check them, and the claims that are asked for."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import urllib3
from backupexport_runtime.settings_errors import ENV_PREFIX
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backupexport_api.auth.keys import (
    Algorithm,
    SigningKey,
    by_kind_of_key,
    keys_of_pem,
    keys_of_secret,
)
from backupexport_api.auth.secret_files import FileKeys, read_previous, read_secret

_ALGORITHMS = f"{ENV_PREFIX}JWT_ALGORITHMS"
_ANY_AUDIENCE = f"{ENV_PREFIX}JWT_ANY_AUDIENCE"

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
# RFC 6838, 4.2; in front of a type without a slash `application/` is understood.
_MEDIA_TYPE = re.compile(f"({_NAME}/)?{_NAME}")


class JwtSettings(BaseSettings):
    """The settings to make or to check a token."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        extra="ignore",
    )

    jwt_algorithms: Annotated[tuple[Algorithm, ...], NoDecode] = Field(
        default=("HS256",), min_length=1
    )
    """Signature algorithms that are accepted, separated by commas: HS256, RS256, ES256, EdDSA, and
    the longer HS, RS and ES and the PS ones."""
    jwt_secret_file: Path | None = None
    """A file that holds the shared secret; wins over BACKUPEXPORT_JWT_SECRET. Read again when it
    changes."""
    jwt_secret: SecretStr = Field(default=SecretStr(""), validate_default=True)
    """The shared secret of the HS algorithms, required with them and only with them; at least 32
    bytes for HS256."""
    jwt_secret_previous_file: Path | None = None
    """A file that holds the shared secret from before, while its tokens are still about; it may be
    missing. Read again when it changes."""
    jwt_public_key_file: Path | None = None
    """A file that holds public keys; wins over BACKUPEXPORT_JWT_PUBLIC_KEY. Read again when it
    changes."""
    jwt_public_key: str = Field(default="", validate_default=True)
    """The public keys of the other algorithms in PEM, one or more: a new key stands beside the old
    one until no token of the old one is left."""
    jwt_jwks_url: str | None = Field(default=None, validate_default=True)
    """Where the public keys are published as a JWK set, instead of PEM; http or https."""
    jwt_jwks_refresh_seconds: int = Field(default=60, ge=1, le=86400)
    """How often the JWK set is read; a key that has left it is good for that long."""
    jwt_jwks_max_age_seconds: int = Field(default=3600, ge=1, le=604800, validate_default=True)
    """How long the keys stay good while the JWK set can't be read."""
    jwt_issuer: str | None = None
    """What the claim iss must be; not checked unless given."""
    jwt_any_audience: bool = False
    """Whether, with public keys, tokens that their issuer has made for other services are good
    here, too. Then aud is not checked."""
    jwt_audience: str | None = Field(default=None, validate_default=True)
    """What the claim aud must hold. Required with public keys, unless any audience will do; with a
    secret alone it is not checked unless given."""
    jwt_type: str | None = None
    """What the header typ must be, such as at+jwt (RFC 9068); not checked unless given."""
    jwt_leeway_seconds: int = Field(default=5, ge=0, le=300)
    """How far the issuer's clock may be off, in seconds, where exp, nbf and iat are checked."""
    jwt_projects_claim: str = "projects"
    """The claim that lists the project ids a token is good for; * stands for all."""
    tokens_without_projects: Literal["all", "none"] = "none"
    """What a token without the projects claim may use: all projects, or none."""

    @field_validator("jwt_algorithms", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(part.strip() for part in value.split(",")))

    @field_validator("jwt_secret")
    @classmethod
    def _effective_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        """Put the file's content, where a file is given, into this field; check what is used."""
        secret = _effective(value.get_secret_value(), info.data.get("jwt_secret_file"))
        if "jwt_algorithms" in info.data:
            algorithms, _ = by_kind_of_key(info.data["jwt_algorithms"])
            if algorithms and not secret:
                raise ValueError("is required: set it, or BACKUPEXPORT_JWT_SECRET_FILE")
            if secret and not algorithms:
                raise ValueError(f"is of no use: {_ALGORITHMS} names no HS algorithm")
            keys_of_secret(secret, algorithms)
        return SecretStr(secret)

    @field_validator("jwt_secret_previous_file")
    @classmethod
    def _usable_previous_secret(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        algorithms, _ = by_kind_of_key(info.data.get("jwt_algorithms", ()))
        if secret := read_previous(value):
            keys_of_secret(secret, algorithms)
        return value

    @field_validator("jwt_public_key")
    @classmethod
    def _effective_public_key(cls, value: str, info: ValidationInfo) -> str:
        text = _effective(value, info.data.get("jwt_public_key_file"))
        if text and "jwt_algorithms" in info.data:
            _, algorithms = by_kind_of_key(info.data["jwt_algorithms"])
            if not algorithms:
                raise ValueError(f"is of no use: {_ALGORITHMS} names none that has a public key")
            keys_of_pem(text, algorithms)
        return text

    @field_validator("jwt_jwks_url")
    @classmethod
    def _one_source_of_keys(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            check_url(value)
        if not {"jwt_algorithms", "jwt_public_key"} <= info.data.keys():
            return value
        _, algorithms = by_kind_of_key(info.data["jwt_algorithms"])
        has_pem = bool(info.data["jwt_public_key"])
        if value is not None and not algorithms:
            raise ValueError(f"is of no use: {_ALGORITHMS} names none that has a public key")
        if value is not None and has_pem:
            raise ValueError("can't be given together with BACKUPEXPORT_JWT_PUBLIC_KEY(_FILE)")
        if value is None and algorithms and not has_pem:
            raise ValueError(
                f"is required for {algorithms[0]}: set it, or BACKUPEXPORT_JWT_PUBLIC_KEY_FILE"
            )
        return value

    @field_validator("jwt_audience")
    @classmethod
    def _whose_tokens_are_ours(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not {"jwt_algorithms", "jwt_any_audience"} <= info.data.keys():
            return value
        any_will_do = info.data["jwt_any_audience"]
        if value is not None and any_will_do:
            raise ValueError(f"can't be given together with {_ANY_AUDIENCE}")
        _, algorithms = by_kind_of_key(info.data["jwt_algorithms"])
        # Who has a shared secret signs for us alone; an issuer signs for all who trust it.
        if value is None and algorithms and not any_will_do:
            raise ValueError(
                f"is required with {algorithms[0]}, or tokens for the issuer's other services "
                f"would be good here: set it, or {_ANY_AUDIENCE}=true if they are to be"
            )
        return value

    @field_validator("jwt_type")
    @classmethod
    def _media_type(cls, value: str | None) -> str | None:
        if value is not None and not _MEDIA_TYPE.fullmatch(value):
            raise ValueError("must be a media type such as at+jwt, without parameters")
        return value

    @field_validator("jwt_jwks_max_age_seconds")
    @classmethod
    def _older_than_a_refresh(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("jwt_jwks_refresh_seconds", 0):
            raise ValueError("must be more than BACKUPEXPORT_JWT_JWKS_REFRESH_SECONDS")
        return value


def keys_in_files(settings: JwtSettings) -> dict[str, FileKeys]:
    """Return a source of keys for each algorithm whose keys come from files, good at the start."""
    with_secret, with_public_key = by_kind_of_key(settings.jwt_algorithms)
    file, previous = settings.jwt_secret_file, settings.jwt_secret_previous_file
    pem = settings.jwt_public_key_file
    sources: dict[str, FileKeys] = {}
    if file is not None and with_secret:

        def of_secrets() -> list[SigningKey]:
            before = read_previous(previous)
            keys = keys_of_secret(read_secret(file), with_secret)
            return keys + (keys_of_secret(before, with_secret) if before else [])

        paths = [file] if previous is None else [file, previous]
        sources |= dict.fromkeys(with_secret, FileKeys(paths, of_secrets))
    if pem is not None and with_public_key and settings.jwt_jwks_url is None:
        of_pem = partial(_keys_in_pem, pem, with_public_key)
        sources |= dict.fromkeys(with_public_key, FileKeys([pem], of_pem))
    return sources


def _keys_in_pem(file: Path, algorithms: Sequence[str]) -> list[SigningKey]:
    return keys_of_pem(read_secret(file), algorithms)


def _effective(value: str, file: Path | None) -> str:
    if file is None:
        return value
    try:
        return read_secret(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't read {file}: {type(error).__name__}") from None


def check_url(text: str) -> None:
    """Raise ValueError unless it is a URL of http or https without a password in it."""
    try:
        url = urllib3.util.parse_url(text)
    except urllib3.exceptions.LocationParseError:
        raise ValueError("is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be a URL that starts with https:// or http://")
    if url.auth is not None:
        raise ValueError("must not hold a user name or password")
