"""Answers of servers that mean no good, or are others than they seem."""

from typing import Any

import pytest
from backupexport_api.jobs.view import JobView, job_view
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service import answers
from backupexport_contract.backup_export import BackupExport
from cli_jobs import JOB_ID, artifact, job, progress
from hypothesis import given
from hypothesis import strategies as st

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("status", answers.STATUSES)
def test_a_job_is_taken_as_it_is(status: str) -> None:
    given_job = job(status)
    assert answers.job(given_job, "o") == given_job


def test_what_an_older_server_does_not_say_is_filled_in() -> None:
    least = ("job_id", "status", "project_id", "created_at", "format")
    old = {name: job()[name] for name in least}
    assert answers.job(old, "o").keys() == JobView.model_fields.keys()
    file = {name: artifact()[name] for name in ("path", "size_bytes", "sha256")}
    taken = answers.job(old | {"status": "completed", "artifact": file}, "o")
    assert taken["artifact"]["encrypted_to"] == []
    for name in least:
        with pytest.raises(CliError, match=name):
            answers.job({each: old[each] for each in least if each != name}, "o")


def test_what_the_api_shows_is_taken() -> None:
    export = BackupExport.model_validate(
        {
            "metadata": {
                "name": JOB_ID,
                "uid": "u",
                "creationTimestamp": "2026-01-29T15:30:00Z",
                "namespace": "ns",
                "generation": 1,
            },
            "spec": {"projectId": "shop"},
            "status": {},
        }
    )
    shown = job_view(export).model_dump(mode="json")
    assert answers.job(shown, "o") == shown


def test_every_field_of_the_apis_is_checked() -> None:
    """Whoever prints one may trust in its type."""
    assert job().keys() == JobView.model_fields.keys()
    for name in JobView.model_fields:
        with pytest.raises(CliError, match=name):
            answers.job(job() | {name: {"odd": 1.5}}, "o")


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "../../etc/passwd"},
        {"job_id": JOB_ID + "\n"},
        {"status": "exploded"},
        {"project_id": "a b"},
        {"created_at": "yesterday"},
        {"created_at": "2026-01-29T15:30:00"},
        {"progress": progress() | {"percent": -1}},
        {"progress": progress() | {"dumped_bytes": 10**30}},
        {"progress": progress() | {"percent": True}},
        {"artifact": artifact(sha256="x" * 64)},
        {"artifact": artifact(size_bytes="1")},
        {"artifact": artifact(path="x" * 30_000)},
        {"warnings": [{"code": "c"}]},
        {"warnings": [{"code": "c", "message": "m"}] * 2000},
        {"error": "broken"},
    ],
)
def test_a_job_that_makes_no_sense_ends_the_command(changes: dict[str, Any]) -> None:
    with pytest.raises(CliError) as caught:
        answers.job(job() | changes, "o")
    assert caught.value.exit_code is ExitCode.UNREACHABLE


@given(st.sampled_from(sorted(job())), _ANYTHING)
def test_no_value_of_any_field_is_more_than_an_error(name: str, value: Any) -> None:
    try:
        answers.job(job("completed") | {name: value}, "o")
    except CliError:
        return


@given(_ANYTHING)
def test_no_answer_is_more_than_an_error(value: Any) -> None:
    for check in (answers.job, answers.accepted_id, answers.link, answers.project):
        with pytest.raises(CliError):
            check(value, "o")


def test_a_project_has_its_newest_job_checked() -> None:
    project = {"project_id": "shop", "suspended": False, "encryption_required": True}
    assert answers.project(project | {"newest_job": None}, "o")
    assert answers.project(project | {"newest_job": job("failed")}, "o")
    with pytest.raises(CliError):
        answers.project(project | {"newest_job": {"status": "odd"}}, "o")
