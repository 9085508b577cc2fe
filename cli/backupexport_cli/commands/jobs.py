"""The command `jobs`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def jobs(context: typer.Context) -> None:
    """List jobs, the newest first."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
