"""The settings of the audit trail."""

import ipaddress
from typing import Annotated, Any

from pydantic import field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class AuditSettings(BaseSettings):
    """Whose word counts about a client's address."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Networks of the proxies in front, such as 10.0.0.0/8, separated by commas: from these a
    client's address is the last one in X-Forwarded-For that is no proxy's. From anybody else the
    header means nothing."""

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(str(ipaddress.ip_network(part.strip())) for part in value.split(","))
        except ValueError:
            raise ValueError("must be networks such as 10.0.0.0/8, separated by commas") from None
