"""The command `token`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backupexport_cli.commands.options import session_of
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.session import Session

if TYPE_CHECKING:
    from backupexport_cli.login.minting import Grant

_SECRET_VARIABLE = "BACKUPEXPORT_JWT_SECRET"
_LARGEST_SECRET = 64 * 1024


def token(
    context: typer.Context,
    subject: Annotated[str, typer.Option(metavar="NAME", help="Who the token is for.")],
    project: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A project that it is good for; may be repeated."),
    ] = None,
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="It is good for every project.")
    ] = False,
    ttl: Annotated[
        str, typer.Option(metavar="TIME", help="How long it is good: 30s, 15m, 1h, 7d.")
    ] = "1h",
    secret_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-", help=f"A file with the server's secret; else {_SECRET_VARIABLE}."
        ),
    ] = None,
    issuer: Annotated[str | None, typer.Option(metavar="TEXT", help="The claim iss.")] = None,
    audience: Annotated[str | None, typer.Option(metavar="TEXT", help="The claim aud.")] = None,
    projects_claim: Annotated[
        str, typer.Option(metavar="NAME", help="The claim that holds the projects.")
    ] = "projects",
    release: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --kube: the Helm release.")
    ] = None,
) -> None:
    """Make a token, with the server's secret or --kube.

    With --kube it is made in the api's pod.
    """
    from backupexport_cli.login.minting import grant_of

    session = session_of(context)
    grant = grant_of(
        subject,
        project or [],
        ttl,
        every_project=all_projects,
        issuer=issuer,
        audience=audience,
        projects_claim=projects_claim,
    )
    made = (
        _in_pod(session, grant, ttl, release)
        if session.kube
        else _here(session, grant, secret_file)
    )
    if session.output.is_json:
        session.output.document({"token": made})
        return
    session.output.print(made)
    session.output.say(
        f"This token is good for {ttl}: use it with `backupexport login URL --token -`, or in"
        " BACKUPEXPORT_TOKEN."
    )


def _here(session: Session, grant: "Grant", secret_file: str | None) -> str:
    from backupexport_contract import timestamps

    from backupexport_cli.login.minting import mint

    secret = session.options.environment.get(_SECRET_VARIABLE, "")
    if secret_file is not None:
        secret = _read(secret_file)
    if not secret:
        raise CliError(
            ExitCode.USAGE,
            "There is no secret to sign with.",
            f"Give --secret-file FILE or {_SECRET_VARIABLE}, or let the api sign: --kube -n NAME.",
        )
    return mint(grant, secret, timestamps.now())


def _in_pod(session: Session, grant: "Grant", ttl: str, release: str | None) -> str:
    from backupexport_cli.kubectl.process import Kubectl
    from backupexport_cli.login import installation

    options = session.options
    kubectl = Kubectl(
        options.kubeconfig_context,
        options.namespace,
        on_run=lambda command: session.trace(" ".join(command)),
        environment=options.environment,
    )
    return installation.mint_in_pod(kubectl, installation.find(kubectl, release), grant, ttl)


def _read(name: str) -> str:
    """Return the file's text without newlines at its end, as the api reads it."""
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(_LARGEST_SECRET + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(_LARGEST_SECRET + 1)
        if len(raw) > _LARGEST_SECRET:
            raise CliError(
                ExitCode.USAGE,
                f"The secret's file is longer than {_LARGEST_SECRET} bytes.",
                "Name the file that has the server's secret alone.",
            )
        return raw.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            ExitCode.USAGE,
            f"The secret's file can't be read ({type(error).__name__}).",
            "Name a file with the secret in it, or - for standard input.",
        ) from None
