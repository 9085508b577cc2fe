"""Everything that can be configured, from environment variables that start with BACKUPEXPORT_."""

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from backupexport_api.audit.settings import AuditSettings
from backupexport_api.auth.login_settings import LoginSettings
from backupexport_api.auth.settings import JwtSettings
from backupexport_api.downloads.settings import DownloadSettings
from backupexport_api.events.streams import EventSettings
from backupexport_api.http.connections import ConnectionSettings
from backupexport_api.limits.settings import LimitSettings

SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


# The settings of tokens come first, because the secret of links must be another one, and because
# people log in at their issuer.
class ApiSettings(
    DownloadSettings,
    EventSettings,
    LimitSettings,
    ConnectionSettings,
    AuditSettings,
    LoginSettings,
    JwtSettings,
):
    """The API's settings; the packages have those of their own."""

    namespace: str = Field(default="", validate_default=True)
    """The namespace of the BackupExports and ExportTargets; the pod's own unless given."""
    drain_seconds: float = Field(default=5, ge=0, le=300)
    """How long it serves on after SIGTERM, closing connections, in seconds."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod's own
    """The address to listen on."""
    port: int = Field(default=8080, ge=1, le=65535)
    """The port to listen on."""
    health_port: int = Field(default=0, ge=0, le=65535)
    """A second port, for GET /healthz, /readyz and /metrics alone, so that these are answered
    whatever happens on the other; 0 for none."""
    metrics_on_public_port: bool = True
    """Whether the first port answers GET /metrics, too, and not the second alone."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages that are logged."""
    log_format: Literal["json", "text"] = Field(
        default_factory=lambda: "text" if sys.stderr.isatty() else "json"
    )
    """json or text; text on a terminal, else json, unless given."""

    @field_validator("namespace")
    @classmethod
    def _own_namespace(cls, value: str) -> str:
        if value:
            return value
        try:
            return SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()
        except OSError:
            raise ValueError("is required outside of a cluster") from None
