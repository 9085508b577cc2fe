"""The settings of rate limits; slots are set with what takes them."""

import limits
from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class LimitSettings(BaseSettings):
    """How often each caller may ask, and where that is counted."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    export_rate_limit: str = "10/minute"
    """How many exports each sub may request."""
    read_rate_limit: str = "600/minute"
    """How many other requests each sub may make of one replica."""
    rate_limit_storage_url: SecretStr = SecretStr("memory://")
    """Where exports are counted: memory:// for one replica, else redis:// or rediss://, the same
    for all. While it is away, each replica counts by itself."""

    @field_validator("export_rate_limit", "read_rate_limit")
    @classmethod
    def _one_limit(cls, value: str) -> str:
        try:
            limit = limits.parse(value)
        except ValueError:
            raise ValueError("must be a rate such as 10/minute or 100/5minutes") from None
        if limit.amount < 1:
            raise ValueError("must allow at least one request")
        return value
