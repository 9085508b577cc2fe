"""The command `export`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def export(context: typer.Context) -> None:
    """Ask for an export of a project."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
