"""What an answer that is no success means to a person; pure."""

import json
from collections.abc import Mapping
from typing import Any

from backupexport_cli.errors import CliError, ExitCode

_MOST_FIELDS = 20

_EXIT_CODES = {
    400: ExitCode.USAGE,
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    410: ExitCode.NOT_FOUND,
    429: ExitCode.UNREACHABLE,
}

# By the code of the problem, else by the exit code.
_ADVICE: dict[str | ExitCode, str] = {
    "downloads_disabled": "",
    "idempotency_key_reused": "Leave out --idempotency-key: each export then has its own.",
    "job_finished": "See how it ended: backupexport job ID",
    "job_not_completed": "See how it is doing: backupexport job ID",
    "job_not_found": "List the jobs that your token may see: backupexport jobs",
    "project_not_found": "List the projects that your token may export: backupexport targets",
    "project_forbidden": "List the projects that your token may export: backupexport targets",
    ExitCode.USAGE: "See what there is to say: backupexport COMMAND --help",
    ExitCode.NOT_ALLOWED: "Log in again: backupexport login",
    ExitCode.NOT_FOUND: "Check the server's address and its version: backupexport whoami",
    ExitCode.UNREACHABLE: "Try again in a minute.",
}


def parsed(body: bytes) -> Any:
    """Return the JSON of a body; raises ValueError where it is none."""
    try:
        return json.loads(body, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def error_of(status: int, body: bytes, *, origin: str) -> CliError:
    """Return the error that an answer means; `origin` is the server's, as a person knows it."""
    exit_code = _EXIT_CODES.get(status)
    if exit_code is None:
        exit_code = ExitCode.UNREACHABLE if status >= 500 and status != 501 else ExitCode.FAILED
    problem = _problem(body)
    if problem is None:
        # Of a proxy, most often: whatever else it says, the status is what counts.
        message = f"{origin} answered with status {status} and without a word of why."
        return CliError(exit_code, message, _ADVICE.get(exit_code, ""))
    code = _text(problem, "code")
    advice = _ADVICE.get(code, _ADVICE.get(exit_code, ""))
    message = _fields(problem) or _text(problem, "detail") or f"The server answered {status}."
    request_id = _text(problem, "request_id")
    if status >= 500 and request_id:
        advice = f"{advice} Its log has more under {request_id}.".strip()
    return CliError(exit_code, message, advice, code=code)


def nonsense(origin: str, what: str) -> CliError:
    """Return the error for an answer that no api gives; `what` says what it is, or lacks."""
    return CliError(
        ExitCode.UNREACHABLE,
        f"{origin} does not answer as a backupexport server does: {what}.",
        "Check the address, and whether a proxy answers in its place.",
    )


def _problem(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = parsed(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "code" in value else None


def _fields(problem: Mapping[str, Any]) -> str:
    errors = problem.get("errors")
    told = [
        f"{_text(each, 'field')} {_text(each, 'message')}"
        for each in (errors if isinstance(errors, list) else [])[:_MOST_FIELDS]
        if isinstance(each, dict)
    ]
    return "; ".join(told) and f"The request is not valid: {'; '.join(told)}."


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
