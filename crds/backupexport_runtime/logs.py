"""One line for each event, as JSON for machines or as text for people."""

import json
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from backupexport_contract import timestamps

# What a line says beside its message: names and values.
Context = Callable[[], dict[str, Any]]

_encode = json.JSONEncoder(default=str).encode


def configure(
    level: str,
    log_format: Literal["json", "text"],
    *,
    quiet: Iterable[tuple[str, int]] = (),
    context: Context = dict,
) -> None:
    """Send everything that any library logs to stderr, in one format.

    Loggers in `quiet` are heard from their level on; `context` is asked for each line.
    """
    handler = logging.StreamHandler()
    handler.setFormatter((_JsonFormatter if log_format == "json" else _TextFormatter)(context))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What no line shows need not be found out for each (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as the HOWTO has it
    for name, least in quiet:
        logging.getLogger(name).setLevel(least)


class _Formatter(logging.Formatter):
    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context


class _JsonFormatter(_Formatter):
    """A JSON object a line; a message's `extra={"fields": {…}}` become keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._context(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


class _TextFormatter(_Formatter):
    """`time level [context] logger: message key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        context = "".join(f" [{value}]" for value in self._context().values())
        given = getattr(record, "fields", {})
        fields = "".join(f" {key}={value!r}" for key, value in given.items())
        line = (
            f"{_time_of(record)} {record.levelname}{context} "
            f"{record.name}: {record.getMessage()}{fields}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time_of(record: logging.LogRecord) -> str:
    return timestamps.to_text(datetime.fromtimestamp(record.created, UTC))
