from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from backupexport_cli.output import job_text
from backupexport_contract.restore_commands import restore_command
from cli_jobs import HOSTILE, JOB_ID, SHA256, artifact, is_harmless, job

NOW = datetime(2026, 1, 29, 17, 45, tzinfo=UTC)
STATUSES = ("pending", "running", "completed", "failed", "cancelled")


def _text(lines: Any) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def _hostile(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hostile(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_hostile(each) for each in value]
    return value + HOSTILE if isinstance(value, str) else value


def _remark(message: str) -> dict[str, str]:
    return {"code": "c", "message": message}


def test_a_list_shows_what_a_job_is_about() -> None:
    jobs = [job(status) for status in STATUSES]
    text = _text(job_text.jobs_table(jobs, 200, NOW))
    assert JOB_ID in text
    for word in ("42 %", "1.2 MiB", "AuthenticationFailed", "2 h", *STATUSES):
        assert word in text


@pytest.mark.parametrize("width", [40, 80])
def test_a_list_is_legible_on_a_narrow_terminal(width: int) -> None:
    jobs = [job(status, project_id="x" * 100) for status in STATUSES]
    text = _text(job_text.jobs_table(jobs, width, NOW))
    assert max(map(len, text.splitlines())) <= width
    assert all(status in text for status in STATUSES)


def test_short_ids_are_told_apart() -> None:
    assert job_text.shortened(["aaaaaaaa-1", "aaaaaaaa-2", "bbbbbbbb-1"]) == [
        "aaaaaaaa-1", "aaaaaaaa-2", "bbbbbbbb-1",
    ]  # fmt: skip
    assert job_text.shortened(["aaaaaaaa-1", "bbbbbbbb-1"]) == ["aaaaaaaa", "bbbbbbbb"]
    assert job_text.shortened([JOB_ID, JOB_ID]) == [JOB_ID[:8]] * 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-300, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86400 * 3, "3 d")],
)
def test_an_age_has_one_unit_and_never_lies_ahead(seconds: int, text: str) -> None:
    made = (NOW - timedelta(seconds=seconds)).isoformat()
    assert job_text.age(made, NOW) == text


def test_details_have_all_that_is_known() -> None:
    shown = job(
        "completed",
        include_schemas=["sales"],
        owner=False,
        storage_path="before/migration",
        warnings=[_remark("A subscription was left out.")],
        restore_hints=[_remark("Create the extension first.")],
        notification={"status": "sent", "reason": "Succeeded", "message": "", "at": ""},
        deliveries=[{"kind": "telegram", "status": "failed", "reason": "R", "message": "No chat."}],
    )
    text = _text(job_text.job_details(shown, 200))
    for word in (
        JOB_ID, "alice", SHA256, "Only schemas sales; no owners", "before/migration", "1234567",
        "1 min 15 s", "A subscription was left out.", "Create the extension first.", "sent",
        "Telegram", "No chat.", "PostgreSQL 17.5", "17 or newer",
    ):  # fmt: skip
        assert word in text
    assert "rm -rf" not in text


def test_details_keep_whole_what_is_copied() -> None:
    assert SHA256 in _text(job_text.job_details(job("completed"), 40))


@pytest.mark.parametrize("status", STATUSES)
def test_nothing_of_a_hostile_job_reaches_a_terminal(status: str) -> None:
    plain = job(
        status,
        error={"reason": "R", "message": "M"},
        warnings=[_remark("w")],
        restore_hints=[_remark("h")],
        deliveries=[{"kind": "k", "status": "sent", "reason": "R", "message": "M"}],
    )
    checked = ("job_id", "status", "project_id", "created_at", "started_at", "completed_at")
    hostile = _hostile(plain) | {name: plain[name] for name in checked}
    texts = [
        _text(job_text.jobs_table([hostile], 200, NOW)),
        _text(job_text.job_details(hostile, 80)),
        job_text.state_text(hostile),
        *job_text.end_text(hostile),
        *job_text.next_steps(hostile),
        *job_text.remarks(hostile),
        *job_text.failure_of(hostile),
    ]
    texts += job_text.restore_notes(hostile) if hostile["artifact"] else []
    assert all(map(is_harmless, texts))


@pytest.mark.parametrize("status", STATUSES)
def test_every_state_says_what_there_is_to_do(status: str) -> None:
    assert all("backupexport " in step for step in job_text.next_steps(job(status)))


def test_a_failure_says_why_and_what_to_do() -> None:
    message, advice = job_text.failure_of(job("failed"))
    assert message == f"Job {JOB_ID} has failed (AuthenticationFailed)."
    assert advice == "Check the user and the password."


def test_a_cancelled_one_says_so() -> None:
    message, advice = job_text.failure_of(job("cancelled"))
    assert message == f"Job {JOB_ID} was cancelled."
    assert "backupexport export shop" in advice


def test_the_restore_command_is_made_here_and_not_taken() -> None:
    file = job_text.dump_file(job("completed"))
    assert "psql -X --single-transaction" in restore_command(file)
    assert "rm -rf" not in restore_command(file)


def test_an_encrypted_files_notes_tell_of_the_key() -> None:
    notes = job_text.restore_notes(job("completed", artifact=artifact(path="p/f.sql.zst.age")))
    assert any("identity" in note for note in notes)
    assert any("superuser" in note for note in notes)
