from typing import Any

import pytest
from backupexport_cli.commands.options import Status, full_job_id
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service import answers
from backupexport_cli.service.interface import Job, JobFilter
from cli_jobs import JOB_ID, job

OTHER = JOB_ID[:9] + JOB_ID[9:][::-1]


class Newest:
    """Exports of which only the list of the newest is asked for."""

    def __init__(self, *ids: str) -> None:
        self._ids = ids
        self.asked = 0

    def jobs(self, wanted: JobFilter, limit: int) -> list[Job]:
        assert (wanted, limit) == (JobFilter(), 200)
        self.asked += 1
        return [job(job_id=each) for each in self._ids]


def _full(given: str, *ids: str) -> str:
    exports: Any = Newest(*ids)
    return full_job_id(exports, given)


def test_a_whole_id_is_taken_without_a_question() -> None:
    exports: Any = Newest()
    assert full_job_id(exports, JOB_ID.upper()) == JOB_ID
    assert exports.asked == 0


@pytest.mark.parametrize("length", [8, 13, 35])
def test_the_beginning_of_an_id_is_enough(length: int) -> None:
    assert _full(JOB_ID[:length], "f" * 8 + JOB_ID[8:], JOB_ID) == JOB_ID


def test_two_that_begin_alike_are_both_named() -> None:
    with pytest.raises(CliError) as caught:
        _full(JOB_ID[:8], JOB_ID, OTHER)
    assert caught.value.exit_code is ExitCode.USAGE
    assert JOB_ID in caught.value.advice
    assert OTHER in caught.value.advice


def test_none_that_begins_so_is_not_found() -> None:
    with pytest.raises(CliError) as caught:
        _full("ffffffff", JOB_ID)
    assert caught.value.exit_code is ExitCode.NOT_FOUND


@pytest.mark.parametrize("given", ["", JOB_ID[:7], "../../jobs", "--help", JOB_ID + "0", "x" * 36])
def test_what_can_be_no_id_is_wrong_usage(given: str) -> None:
    with pytest.raises(CliError) as caught:
        _full(given, JOB_ID)
    assert caught.value.exit_code is ExitCode.USAGE


def test_the_statuses_are_the_apis() -> None:
    assert tuple(each.value for each in Status) == answers.STATUSES
