"""The command `check`."""

import typer

from backupexport_cli.errors import CliError, ExitCode


def check(context: typer.Context) -> None:
    """Check a local file against its manifest or its job."""
    raise CliError(ExitCode.FAILED, f"{context.info_name} is not built yet.")
