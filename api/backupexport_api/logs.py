"""One line for each event, as JSON for machines or as text for people."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from backupexport_contract import timestamps

from backupexport_api.request_context import request_id


def configure(level: str, log_format: Literal["json", "text"]) -> None:
    """Send everything that any library logs to stderr, in one format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What no line shows need not be found out for each (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as the HOWTO has it
    # urllib3 tells of every connection and of every retry; what fails for good we say ourselves.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


_encode = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """A JSON object a line; a message's `extra={"fields": {…}}` become keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format `record`."""
        line = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


class TextFormatter(logging.Formatter):
    """`time level [request id] logger: message key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format `record`."""
        fields = "".join(f" {key}={value!r}" for key, value in _fields_of(record).items())
        line = (
            f"{_time_of(record)} {record.levelname} [{request_id.get()}] "
            f"{record.name}: {record.getMessage()}{fields}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time_of(record: logging.LogRecord) -> str:
    return timestamps.to_text(datetime.fromtimestamp(record.created, UTC))


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields
