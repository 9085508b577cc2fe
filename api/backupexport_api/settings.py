"""Everything that can be configured, from environment variables that start with BACKUPEXPORT_."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import jwt
import limits
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "BACKUPEXPORT_"
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

# RFC 7518, 3.2: an HS256 key has at least the size of the hash.
_SHORTEST_SECRET_BYTES = 32

Algorithm = Literal["HS256"]


class JwtSettings(BaseSettings):
    """What it takes to make or to check a token."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
        extra="ignore",
    )

    jwt_algorithms: Annotated[tuple[Algorithm, ...], NoDecode] = Field(
        default=("HS256",),
        min_length=1,
        description="Signature algorithms that are accepted, separated by commas; HS256 so far.",
    )
    jwt_secret_file: Path | None = Field(
        default=None,
        description="A file that holds the shared secret; wins over BACKUPEXPORT_JWT_SECRET.",
    )
    jwt_secret: SecretStr = Field(
        default=SecretStr(""),
        validate_default=True,
        description="The shared secret of HS256, at least 32 bytes.",
    )
    jwt_issuer: str | None = Field(
        default=None, description="What the claim iss must be; not checked unless given."
    )
    jwt_audience: str | None = Field(
        default=None, description="What the claim aud must hold; not checked unless given."
    )
    jwt_projects_claim: str = Field(
        default="projects",
        description="The claim that lists the project ids a token is good for; * stands for all.",
    )

    @field_validator("jwt_algorithms", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("jwt_secret")
    @classmethod
    def _effective_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        """Read the file where there is one, so that every reader finds the secret in one place."""
        file = info.data.get("jwt_secret_file")
        if file is not None:
            try:
                value = SecretStr(file.read_text(encoding="utf-8").rstrip("\r\n"))
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"can't read {file}: {type(error).__name__}") from None
        size = len(value.get_secret_value().encode())
        if not size:
            raise ValueError("is required: set it, or BACKUPEXPORT_JWT_SECRET_FILE")
        if size < _SHORTEST_SECRET_BYTES:
            raise ValueError(
                f"is too short: {size} bytes, and HS256 asks for at least "
                f"{_SHORTEST_SECRET_BYTES} (openssl rand -base64 48 makes a good one)"
            )
        try:
            jwt.get_algorithm_by_name("HS256").prepare_key(value.get_secret_value())
        except jwt.InvalidKeyError:
            raise ValueError("must be a random text, not a public key or certificate") from None
        return value


class Settings(JwtSettings):
    """What the API's process is told."""

    namespace: str = Field(
        default="",
        validate_default=True,
        description="The namespace of the BackupExports and ExportTargets; the pod's own unless"
        " given.",
    )
    tokens_without_projects: Literal["all", "none"] = Field(
        default="all",
        description="What a token without the projects claim may use: all projects, or none.",
    )
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
    drain_seconds: float = Field(
        default=5,
        ge=0,
        le=300,
        description="How long it serves on after SIGTERM, closing connections, in seconds.",
    )
    host: str = Field(default="0.0.0.0", description="The address to listen on.")  # noqa: S104 - a pod's own
    port: int = Field(default=8080, ge=1, le=65535, description="The port to listen on.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe messages that are logged."
    )
    log_format: Literal["json", "text"] = Field(
        default_factory=lambda: "text" if sys.stderr.isatty() else "json",
        description="json or text; text on a terminal, else json, unless given.",
    )

    @field_validator("namespace")
    @classmethod
    def _own_namespace(cls, value: str) -> str:
        if value:
            return value
        try:
            return SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()
        except OSError:
            raise ValueError("is required outside of a cluster") from None

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


def complaints(error: ValidationError) -> list[str]:
    """What is wrong with the settings, one line for each variable, never with a value in it."""
    first: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = ENV_PREFIX + str(item["loc"][0]).upper()
        first.setdefault(name, item["msg"].removeprefix("Value error, "))
    return [f"{name}: {message}" for name, message in first.items()]
