import json

import pytest
from backupexport_cli.errors import ExitCode
from backupexport_cli.service.problems import error_of, parsed

ORIGIN = "exports.example.com"


def _body(**changes: object) -> bytes:
    problem = {"title": "T", "status": 400, "detail": "Detail.", "code": "c", "request_id": "r-1"}
    return json.dumps(problem | changes).encode()


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [
        (400, ExitCode.USAGE),
        (401, ExitCode.NOT_ALLOWED),
        (403, ExitCode.NOT_ALLOWED),
        (404, ExitCode.NOT_FOUND),
        (409, ExitCode.FAILED),
        (410, ExitCode.NOT_FOUND),
        (429, ExitCode.UNREACHABLE),
        (500, ExitCode.UNREACHABLE),
        (501, ExitCode.FAILED),
        (502, ExitCode.UNREACHABLE),
        (503, ExitCode.UNREACHABLE),
        (599, ExitCode.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("body", [_body(), b"<html>", b""])
def test_each_status_has_its_exit_code(status: int, exit_code: ExitCode, body: bytes) -> None:
    assert error_of(status, body, origin=ORIGIN).exit_code is exit_code


def test_a_problem_says_what_the_server_says() -> None:
    error = error_of(404, _body(code="job_not_found", detail="No such job."), origin=ORIGIN)
    assert error.message == "No such job."
    assert error.code == "job_not_found"
    assert "backupexport jobs" in error.advice


def test_each_wrong_field_is_named() -> None:
    errors = [{"field": "format", "message": "must be 'sql'"}, {"field": "x", "message": "is odd"}]
    error = error_of(400, _body(errors=errors), origin=ORIGIN)
    assert error.message == "The request is not valid: format must be 'sql'; x is odd."


def test_a_bug_of_the_servers_names_where_its_log_has_more() -> None:
    assert "r-1" in error_of(500, _body(), origin=ORIGIN).advice


@pytest.mark.parametrize(
    "body",
    [
        b"<html>a proxy's</html>",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b"NaN",
        _body(errors="no list", detail=5, code=[], request_id={}),
        _body(errors=[1, None, {"field": 1}], detail=None),
    ],
)
def test_an_error_that_is_none_is_told_all_the_same(body: bytes) -> None:
    error = error_of(502, body, origin=ORIGIN)
    assert error.message.endswith(".")
    assert "proxy's" not in error.message


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"[" * 100_000, b"\xff", b"9" * 5000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of json, of Unicode and of our own
        parsed(body)
