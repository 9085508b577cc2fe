from collections.abc import Callable

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.request import read_attempt, read_request

Environment = Callable[..., dict[str, str]]


@pytest.mark.parametrize(
    ("storage_path", "path"),
    [
        (None, "--help/20260129T153000Z-"),
        ("", "--help/20260129T153000Z-"),
        ("a/b.c", "--help/a/b.c/20260129T153000Z-"),
    ],
)
def test_a_good_request(make_environment: Environment, storage_path: str | None, path: str) -> None:
    values = make_environment()
    if storage_path is not None:
        values["EXPORT_STORAGE_PATH"] = storage_path
    assert read_request(values).artifact_path.startswith(path)


@pytest.mark.parametrize("name", ["JOB_ID", "PROJECT_ID", "FORMAT", "COMPRESSION", "FILE_NAME"])
def test_a_missing_value_is_named(make_environment: Environment, name: str) -> None:
    values = make_environment()
    del values[f"EXPORT_{name}"]
    with pytest.raises(Failure, match=f"EXPORT_{name} is missing") as failure:
        read_request(values)
    assert failure.value.exit_code == ExitCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXPORT_JOB_ID", "CANARY"),
        ("EXPORT_JOB_ID", "0B7C1111-2222-4333-8444-555566667777"),
        ("EXPORT_PROJECT_ID", "CANARY/.."),
        ("EXPORT_PROJECT_ID", "CANARY\n"),
        ("EXPORT_FORMAT", "CANARY"),
        ("EXPORT_COMPRESSION", "CANARY"),
        ("EXPORT_STORAGE_PATH", "/CANARY"),
        ("EXPORT_STORAGE_PATH", "CANARY/../.."),
        ("EXPORT_STORAGE_PATH", "CANARY/"),
        ("EXPORT_STORAGE_PATH", "CANARY\n"),
        ("EXPORT_FILE_NAME", "../CANARY"),
        ("EXPORT_FILE_NAME", "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.sql"),
        ("EXPORT_FILE_NAME", "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.tar.zst"),
        ("EXPORT_FILE_NAME", "20260129T153001Z-0b7c1111-2222-4333-8444-555566667777.sql.zst"),
        ("EXPORT_FILE_NAME", "20260129T153000Z-0b7c1111-2222-4333-8444-555566667778.sql.zst"),
        ("EXPORT_CREATED_AT", "CANARY"),
        ("EXPORT_CREATED_AT", "2026-01-29T15:30:00"),
    ],
)
def test_a_bad_value_is_refused_and_not_repeated(
    make_environment: Environment, name: str, value: str
) -> None:
    with pytest.raises(Failure, match=name) as failure:
        read_request(make_environment() | {name: value})
    assert failure.value.exit_code == ExitCode.BAD_REQUEST
    assert "CANARY" not in failure.value.message


def test_an_attempt_is_its_pod(make_environment: Environment) -> None:
    values = make_environment(EXPORT_POD_NAME="bex-my.export-x7k2p")
    assert read_attempt(values) == "bex-my.export-x7k2p"


def test_an_attempt_of_an_older_operator_is_like_no_other(make_environment: Environment) -> None:
    first, second = (read_attempt(make_environment()) for _ in range(2))
    assert first != second
    assert read_attempt(make_environment(EXPORT_POD_NAME=first)) == first


@pytest.mark.parametrize("name", ["../CANARY", "a/b", "a@b", "-a", "x" * 64, "a\n"])
def test_no_pod_has_such_a_name(make_environment: Environment, name: str) -> None:
    with pytest.raises(Failure, match="EXPORT_POD_NAME") as failure:
        read_attempt(make_environment(EXPORT_POD_NAME=name))
    assert failure.value.exit_code == ExitCode.BAD_REQUEST
