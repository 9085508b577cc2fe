"""The settings of the command line's login, which asks an issuer for a token by itself."""

import re
from typing import Annotated, Any

from backupexport_runtime.settings_errors import ENV_PREFIX
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backupexport_api.auth.settings import check_url

_CLIENT_ID = f"{ENV_PREFIX}LOGIN_CLIENT_ID"

# RFC 6749, appendix A.
_CLIENT = re.compile(r"[\x20-\x7e]+")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class LoginSettings(BaseSettings):
    """What clients are told of how to get a token; nothing of it is secret."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    login_client_id: str | None = None
    """The id of a public client of the issuer, one that needs no secret and may use the device
    grant (RFC 8628): with it `backupexport login` gets tokens. People bring theirs unless given."""
    login_issuer: str | None = Field(default=None, validate_default=True)
    """The issuer that knows this client, such as https://issuer.example.com: its configuration is
    below, at .well-known/openid-configuration. BACKUPEXPORT_JWT_ISSUER unless given."""
    login_scopes: Annotated[tuple[str, ...], NoDecode] = Field(default=("openid",), min_length=1)
    """The scopes to ask for, separated by spaces; many issuers want offline_access among them for a
    token that can be refreshed."""
    login_audience: str | None = Field(default=None, validate_default=True)
    """The audience to ask for, where an issuer wants to be told whom a token is for."""

    @field_validator("login_client_id")
    @classmethod
    def _printable_client(cls, value: str | None) -> str | None:
        if value is not None and not _CLIENT.fullmatch(value):
            raise ValueError("must be printable ASCII characters")
        return value

    @field_validator("login_issuer")
    @classmethod
    def _issuer_of_the_client(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "login_client_id" not in info.data:
            return value
        if info.data["login_client_id"] is None:
            if value is not None:
                raise ValueError(f"is of no use without {_CLIENT_ID}")
            return None
        issuer: str | None = value or info.data.get("jwt_issuer")
        if issuer is None:
            raise ValueError(f"is required with {_CLIENT_ID}: set it, or {ENV_PREFIX}JWT_ISSUER")
        check_url(issuer)
        # OpenID Connect Discovery, 2: a path is put behind it.
        if not re.fullmatch(r"[\x21-\x7e]+", issuer) or "?" in issuer or "#" in issuer:
            raise ValueError("must hold neither spaces nor a query or a fragment")
        return issuer

    @field_validator("login_scopes", mode="before")
    @classmethod
    def _split_scopes(cls, value: Any) -> Any:
        return tuple(dict.fromkeys(value.split())) if isinstance(value, str) else value

    @field_validator("login_scopes")
    @classmethod
    def _scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_SCOPE.fullmatch(scope) for scope in value):
            raise ValueError("must be scopes such as openid, separated by spaces")
        return value

    @field_validator("login_audience")
    @classmethod
    def _audience_of_the_client(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("login_client_id", "") is None:
            raise ValueError(f"is of no use without {_CLIENT_ID}")
        if not _CLIENT.fullmatch(value):
            raise ValueError("must be printable ASCII characters")
        return value
