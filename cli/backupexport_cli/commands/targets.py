"""The command `targets`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def targets(context: typer.Context) -> None:
    """List the projects that your token may export."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
