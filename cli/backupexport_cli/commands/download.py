"""The command `download`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def download(context: typer.Context) -> None:
    """Fetch a job's file, check it, and decrypt it."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
