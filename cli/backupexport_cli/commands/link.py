"""The command `link`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def link(context: typer.Context) -> None:
    """Make a link to a job's file, which needs no token."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
