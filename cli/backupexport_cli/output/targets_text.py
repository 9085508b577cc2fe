"""Projects as a table; pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from backupexport_cli.output.job_text import age, done_text, status_style
from backupexport_cli.output.table import Column, Line, table_lines


def targets_table(projects: Sequence[dict[str, Any]], width: int, now: datetime) -> list[Line]:
    """Return the lines of a list of projects, each with its newest export."""
    newest = [project.get("newest_job") for project in projects]
    return table_lines(
        [
            Column("PROJECT", [(each["project_id"], "") for each in projects], 9, may_shrink=True),
            Column("NOTES", [(_notes(each), "yellow") for each in projects], 5),
            Column(
                "NEWEST",
                [
                    (job["status"], status_style(job["status"])) if job else ("-", "")
                    for job in newest
                ],
                8,
            ),
            Column("DONE", [(done_text(job) if job else "-", "") for job in newest], 4),
            Column("AGE", [(age(job["created_at"], now) if job else "-", "") for job in newest], 6),
            Column("JOB", [(job["job_id"] if job else "-", "") for job in newest], 3),
        ],
        width,
    )


def _notes(project: dict[str, Any]) -> str:
    notes = ["suspended"] if project["suspended"] else []
    notes += ["must be encrypted"] if project["encryption_required"] else []
    return ", ".join(notes) or "-"
