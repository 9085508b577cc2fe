"""The command `targets`."""

import typer

from backupexport_cli.commands.options import session_of


def targets(context: typer.Context) -> None:
    """List the projects that you may export."""
    from datetime import UTC, datetime

    from backupexport_cli.output.targets_text import targets_table

    session = session_of(context)
    projects, output = session.rest().projects(), session.output
    if output.is_json:
        output.document({"projects": projects})
        return
    if not projects:
        output.say(
            "There is no project that your token may export. "
            "Ask the platform's administrators for one, or for a token that names yours."
        )
        return
    for line in targets_table(projects, output.width, datetime.now(UTC)):
        output.print_line(*line)
    example = session.command("export", projects[0]["project_id"], "--download")
    output.say(f"Export one: {example}")
