"""The command `logout`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def logout(context: typer.Context) -> None:
    """Forget a server's token."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
