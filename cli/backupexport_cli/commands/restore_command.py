"""The command `restore-command`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def restore_command(context: typer.Context) -> None:
    """Print the command that restores a job's file."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
