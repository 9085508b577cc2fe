"""The command `whoami`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def whoami(context: typer.Context) -> None:
    """Show which server and token the commands use."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
