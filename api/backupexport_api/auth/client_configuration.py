"""What a client has to know before it has a token; nothing of it is secret."""

import hashlib
from dataclasses import dataclass
from typing import Self

from backupexport_contract.kubernetes_model import FrozenModel

from backupexport_api.auth.login_settings import LoginSettings


class LoginView(FrozenModel):
    """Where a client gets a token by the device grant (RFC 8628)."""

    issuer: str
    """An OpenID Connect issuer; its configuration is below, at .well-known/openid-configuration."""
    client_id: str
    """The id of its client, which has no secret."""
    scopes: list[str]
    """The scopes to ask for."""
    audience: str | None
    """The audience to ask for; null where the issuer needs none."""


class ClientConfigurationView(FrozenModel):
    """What this installation offers to clients."""

    login: LoginView | None
    """How to get a token; null where people bring one."""
    downloads: bool
    """Whether files can be fetched here."""
    version: str
    """The API's version."""


@dataclass(frozen=True, slots=True)
class ClientConfiguration:
    """The view, encoded once: it stays the same while the process runs."""

    json: bytes
    etag: str
    """In quotes; the same for all replicas that say the same."""

    @classmethod
    def of(cls, settings: LoginSettings, *, downloads: bool, version: str) -> Self:
        """Tell what `settings` say."""
        login = None
        if settings.login_issuer is not None and settings.login_client_id is not None:
            login = LoginView(
                issuer=settings.login_issuer,
                client_id=settings.login_client_id,
                scopes=list(settings.login_scopes),
                audience=settings.login_audience,
            )
        view = ClientConfigurationView(login=login, downloads=downloads, version=version)
        encoded = view.model_dump_json().encode()
        return cls(encoded, f'"{hashlib.sha256(encoded).hexdigest()[:32]}"')
