"""The command `login`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def login(context: typer.Context) -> None:
    """Log in to a server."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
