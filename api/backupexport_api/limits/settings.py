"""The settings of rate limits; slots are set with what takes them."""

from pathlib import Path

import limits
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backupexport_api.auth.secret_files import read_secret


class LimitSettings(BaseSettings):
    """How often each caller may ask, and where that is counted."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    export_rate_limit: str = "10/minute"
    """How many exports each sub may request."""
    read_rate_limit: str = "600/minute"
    """How many other requests each sub may make of one replica."""
    rate_limit_storage_url_file: Path | None = None
    """A file that holds the next one, which it wins over. Read again when it changes."""
    rate_limit_storage_url: SecretStr = Field(default=SecretStr("memory://"), validate_default=True)
    """Where exports are counted: memory:// for one replica, else redis:// or rediss://, the same
    for all. While it is away, each replica counts by itself."""

    @field_validator("rate_limit_storage_url")
    @classmethod
    def _effective_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        file = info.data.get("rate_limit_storage_url_file")
        try:
            return value if file is None else SecretStr(read_secret(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"can't read {file}: {type(error).__name__}") from None

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
