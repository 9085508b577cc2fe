"""The settings of rate limits; slots are set with what takes them."""

import limits
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings


class LimitSettings(BaseSettings):
    """How often each caller may ask, and where that is counted."""

    export_rate_limit: str = Field(
        default="10/minute", description="How many exports each sub may request."
    )
    read_rate_limit: str = Field(
        default="600/minute",
        description="How many other requests each sub may make of one replica.",
    )
    rate_limit_storage_url: SecretStr = Field(
        default=SecretStr("memory://"),
        description="Where exports are counted: memory:// for one replica, else redis:// or"
        " rediss://, the same for all. While it is away, each replica counts by itself.",
    )

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
