"""The commands, and the options that all of them have."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

import backupexport_cli
from backupexport_cli.commands.cancel import cancel
from backupexport_cli.commands.check import check
from backupexport_cli.commands.contexts import contexts
from backupexport_cli.commands.download import download
from backupexport_cli.commands.export import export
from backupexport_cli.commands.job import job
from backupexport_cli.commands.jobs import jobs
from backupexport_cli.commands.link import link
from backupexport_cli.commands.login import login
from backupexport_cli.commands.logout import logout
from backupexport_cli.commands.restore_command import restore_command
from backupexport_cli.commands.targets import targets
from backupexport_cli.commands.token import token
from backupexport_cli.commands.watch import watch
from backupexport_cli.commands.whoami import whoami
from backupexport_cli.session import GlobalOptions, Session

# In the order of a first day's work.
_COMMANDS: dict[str, Callable[..., None]] = {
    "login": login,
    "targets": targets,
    "export": export,
    "jobs": jobs,
    "job": job,
    "watch": watch,
    "cancel": cancel,
    "download": download,
    "check": check,
    "restore-command": restore_command,
    "link": link,
    "whoami": whoami,
    "contexts": contexts,
    "logout": logout,
    "token": token,
}
_EPILOG = (
    "The options of all commands, such as --json, --quiet and --context, stand before the command "
    "or after it: backupexport --help"
)
_FLAGS = {
    "--kube", "--insecure-http", "--json", "--quiet", "-q", "--verbose", "-v",
}  # fmt: skip
_WITH_VALUE = {"--context", "--url", "--namespace", "-n", "--kubeconfig-context", "--release"}

_Context = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A server's name, as `contexts` lists it.",
        envvar="BACKUPEXPORT_CONTEXT",
    ),
]
_Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The server's address, instead of a context's."),
]
_Kube = Annotated[
    bool,
    typer.Option(
        "--kube", help="Go by way of Kubernetes, with your kubeconfig; first: login --kube."
    ),
]
_Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="With --kube: the installation's namespace."
    ),
]
_KubeconfigContext = Annotated[
    str | None, typer.Option(metavar="NAME", help="With --kube: kubectl's --context.")
]
_Release = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --kube: the Helm release, where there are several."),
]
_InsecureHttp = Annotated[
    bool, typer.Option("--insecure-http", help="Send the token over http://, too.")
]
_Json = Annotated[
    bool, typer.Option("--json", help="Print JSON: one document, or one a line where it waits.")
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer, and cautions.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print each request.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"backupexport {backupexport_cli.__version__}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Print the version and end."
    ),
]

app = typer.Typer(
    name="backupexport",
    help="Export PostgreSQL databases, and fetch and check the files.",
    invoke_without_command=True,
    # rich takes longer to import than all else.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def begin(
    invocation: typer.Context,
    context: _Context = None,
    url: _Url = None,
    kube: _Kube = False,
    namespace: _Namespace = None,
    kubeconfig_context: _KubeconfigContext = None,
    release: _Release = None,
    insecure_http: _InsecureHttp = False,
    json: _Json = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
    version: _Version = False,
) -> None:
    """Export PostgreSQL databases, and fetch and check the files."""
    del version
    if invocation.invoked_subcommand is None:
        typer.echo(invocation.get_help())
        raise typer.Exit
    session = Session(
        GlobalOptions(
            context=context,
            url=url,
            kube=kube,
            namespace=namespace,
            kubeconfig_context=kubeconfig_context,
            release=release,
            insecure_http=insecure_http,
            json=json,
            quiet=quiet,
            verbose=verbose,
        )
    )
    invocation.obj = session
    # These had the option before all commands had it.
    invocation.default_map = {name: {"release": release} for name in ("login", "token")}
    invocation.call_on_close(session.close)


for _name, _function in _COMMANDS.items():
    app.command(_name, epilog=_EPILOG)(_function)


def global_options_and_rest(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the global options, which are parsed first, and then all other arguments.

    `--download` gets the value that it may be given without.
    """
    first: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            return first, [*rest, argument, *left]
        name, equals, _ = argument.partition("=")
        if argument in _FLAGS or (equals and name in _WITH_VALUE):
            first.append(argument)
        elif argument in _WITH_VALUE and left:
            first += [argument, left.pop(0)]
        elif argument == "--download" and not (left and _is_value(left[0])):
            rest.append("--download=.")
        else:
            rest.append(argument)
    return first, rest


def _is_value(argument: str) -> bool:
    return argument == "-" or not argument.startswith("-")
