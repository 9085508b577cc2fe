"""Log lines: JSON for a cluster, plain text for a terminal."""

import json
import logging
import sys
from typing import Literal

from backupexport_contract import timestamps


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its time, level, logger, message and exception."""
        fields = {
            "time": timestamps.to_text(timestamps.now()),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def configure_logging(level: str, log_format: Literal["json", "text"]) -> None:
    """Send everything to stderr; kopf's and the HTTP client's chatter only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":
        for chatty in ("kopf", "aiohttp", "asyncio"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
