"""The command `token`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def token(context: typer.Context) -> None:
    """Mint a token where the server's secret is at hand."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
