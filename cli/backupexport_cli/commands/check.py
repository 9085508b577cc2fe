"""The command `check`."""

from pathlib import Path
from typing import Annotated

import typer

from backupexport_cli.commands.completion import job_ids
from backupexport_cli.commands.options import full_job_id, session_of


def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file.")],
    job: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Compare it with this job, not with the manifest beside it.",
            autocompletion=job_ids,
        ),
    ] = None,
) -> None:
    """Check a local file against its manifest or its job.

    The manifest is FILE.json beside it; without one, the job that the file's name tells is asked.
    """
    from backupexport_cli.files.check import check as compare

    session = session_of(context)
    job_id = None if job is None else full_job_id(session.exports(), job)
    checked = compare(file, job_id, lambda found: session.exports().job(found))
    if session.output.is_json:
        session.output.document(checked.document())
    else:
        session.output.print(checked.text())
