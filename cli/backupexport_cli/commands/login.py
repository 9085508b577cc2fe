"""The command `login`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backupexport_cli.commands.options import session_of
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.session import Session, server_url

if TYPE_CHECKING:
    from backupexport_cli.login.contexts import Context, Contexts
    from backupexport_cli.login.device_flow import Authorization
    from backupexport_cli.login.tokens import Tokens

_LARGEST_INPUT = 64 * 1024
_FROM_STDIN = "-"


def login(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="The server's address; without it, the current one."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the server is called here; else its host's name."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="-|TOKEN",
            help="- reads a token from standard input; one given here is seen by other users.",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser", help="Open the page to log in at in a browser.")
    ] = False,
    release: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --kube: the Helm release.")
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="With --kube: a project of the token; else all."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --kube: who the token is for; else you."),
    ] = None,
    ttl: Annotated[
        str, typer.Option(metavar="TIME", help="With --kube: how long it is good: 30m, 8h, 7d.")
    ] = "8h",
) -> None:
    """Log in: in a browser, with a token, or with --kube."""
    session = session_of(context)
    if session.kube:
        if server is not None or token is not None:
            raise CliError(
                ExitCode.USAGE,
                "With --kube the cluster's own api makes the token.",
                "Leave out the address and --token, or leave out --kube.",
            )
        _by_kubernetes(session, name, release, project or [], subject, ttl)
        return
    if release or project or subject:
        raise CliError(
            ExitCode.USAGE,
            "--release, --project and --subject are for --kube.",
            "Add --kube, or leave them out: whoever issues the token decides what it is good for.",
        )
    wanted = _wanted(session, server, name)
    tokens = _given(session, wanted, token) if token is not None else None
    if tokens is None:
        wanted, tokens = _asked_for(session, wanted, browser=browser)
    _check(session, wanted, tokens)
    _keep(session, wanted, tokens)


def _wanted(session: Session, server: str | None, name: str | None) -> "Context":
    """Return the context to log in to."""
    from dataclasses import replace
    from urllib.parse import urlsplit

    from backupexport_cli.login import contexts, resolution

    options = session.options
    kept = contexts.load()
    named = name or options.context
    given = server or options.url or options.environment.get(resolution.URL_VARIABLE)
    if given is None:
        known = kept.find(named)
        if known is None:
            raise CliError(
                ExitCode.USAGE,
                "No server is known yet.",
                "Say which one: backupexport login https://exports.example.com",
            )
        if known.kube_service is not None:
            raise CliError(
                ExitCode.USAGE,
                f"{known.name} is reached by way of Kubernetes.",
                f"Log in with `{known.login_command}`.",
            )
        insecure_http = known.insecure_http or options.insecure_http
        server_url(known.url, allow_http=insecure_http)
        return replace(known, insecure_http=insecure_http)
    url = server_url(given, allow_http=options.insecure_http)
    context = contexts.Context(named or "", url, insecure_http=options.insecure_http)
    if named:
        contexts.valid_name(named)
        _refuse_another_place(kept, context, name)
        return context
    return contexts.named(kept, context, urlsplit(url).hostname or "")


def _refuse_another_place(kept: "Contexts", context: "Context", name: str | None) -> None:
    """Raise CliError where a context would lead elsewhere that was only meant to be used."""
    known = kept.by_name.get(context.name)
    if name is None and known is not None and known.place != context.place:
        raise CliError(
            ExitCode.USAGE,
            f"The context {known.name} leads to {known.place}.",
            f"Give this server another name with --name, or say --name {known.name} to replace"
            " that one.",
        )


def _given(session: Session, wanted: "Context", token: str) -> "Tokens":
    from backupexport_cli.login.access import valid_token
    from backupexport_cli.login.tokens import Tokens

    if token != _FROM_STDIN:
        session.output.warn(
            "The token stands in the command line, where other users of this machine and the"
            " shell's history see it; `--token -` reads it from standard input."
        )
        return Tokens(valid_token(token), wanted.place)
    return Tokens(valid_token(_typed_or_piped()), wanted.place)


def _typed_or_piped() -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Token (not shown): ")
    return sys.stdin.read(_LARGEST_INPUT)


def _asked_for(session: Session, wanted: "Context", *, browser: bool) -> "tuple[Context, Tokens]":
    """Return what the server's way to log in gives, else what is typed."""
    from dataclasses import replace

    from backupexport_cli.login import device_flow
    from backupexport_cli.login.issuer import IssuerClient, discover
    from backupexport_cli.login.tokens import Origin, tokens_of

    client = _client_of(session, wanted)
    if client is None:
        if not sys.stdin.isatty():
            raise CliError(
                ExitCode.USAGE,
                "This server names no issuer to log in at, so it needs a token.",
                f"Give one on standard input: backupexport login {wanted.url} --token - < FILE",
            )
        session.output.say("This server names no issuer to log in at: paste a token.")
        return wanted, _given(session, wanted, _FROM_STDIN)
    with IssuerClient(session.trace) as http:
        endpoints = discover(http, client.issuer)
        if endpoints.device_authorization is None:
            raise CliError(
                ExitCode.FAILED,
                "The server's issuer offers no device flow.",
                "Log in with a token: backupexport login --token -",
            )
        given = device_flow.begin(http, endpoints.device_authorization, client)
        _show_code(session, given, browser=browser)
        answer = device_flow.wait_for_tokens(
            http, endpoints.token, client, given, tell=session.output.say
        )
    origin = Origin.of(client.client_id, endpoints, client.audience)
    with_issuer = replace(wanted, issuer=client.issuer, client_id=client.client_id)
    return with_issuer, tokens_of(answer, wanted.place, origin)


def _client_of(session: Session, wanted: "Context") -> Any:
    """Return the client that the server names (a device_flow.Client); None where it names none."""
    from backupexport_cli.login.device_flow import client_of

    rest = session.rest_at(wanted.url, None)
    try:
        configuration = rest.client_configuration()
    except CliError as error:
        # A server from before it had that.
        if error.exit_code is ExitCode.NOT_FOUND:
            return None
        raise
    return client_of(configuration)


def _show_code(session: Session, given: "Authorization", *, browser: bool) -> None:
    output = session.output
    if output.is_json:
        output.event(
            {
                "verification_uri": given.page,
                "verification_uri_complete": given.page_with_code,
                "user_code": given.user_code,
                "expires_in": given.seconds,
            }
        )
    else:
        # The answer of this command so far: --quiet must not hide it.
        output.print(f"Open  {given.page}\nCode  {given.user_code}")
        if given.page_with_code:
            output.say(f"Or open {given.page_with_code} and compare the code.")
        output.say("Waiting until you have logged in there; Ctrl-C stops.")
    if browser:
        import webbrowser

        try:
            is_open = webbrowser.open(given.page_with_code or given.page)
        except webbrowser.Error:
            is_open = False
        if not is_open:
            output.warn("No browser could be opened; open the page yourself.")


def _check(session: Session, wanted: "Context", tokens: "Tokens") -> None:
    """Ask the server whether it takes the token; raises CliError."""
    from backupexport_cli.service.http import GivenToken
    from backupexport_cli.service.interface import JobFilter

    rest = session.rest_at(wanted.url, GivenToken(tokens.value))
    try:
        rest.jobs(JobFilter(), 1)
    except CliError as error:
        if error.exit_code is not ExitCode.NOT_ALLOWED:
            raise
        raise CliError(
            ExitCode.NOT_ALLOWED,
            f"The server does not take this token, so it was not kept: {error.message}",
            "Log in with another one, or ask whoever runs the server which tokens it takes.",
            code=error.code,
        ) from None


def _keep(session: Session, context: "Context", tokens: "Tokens") -> None:
    from backupexport_contract import timestamps

    from backupexport_cli.login import contexts, resolution, summary
    from backupexport_cli.login.places import shown
    from backupexport_cli.login.token_store import TokenStore

    store = TokenStore()
    place = store.put(context.name, tokens)
    contexts.change(lambda kept: kept.having(context))
    output = session.output
    if output.is_json:
        found = summary.document(context, tokens.value)
        output.event(found | {"token_kept_in": place})
        return
    output.print("\n".join(summary.lines(context, tokens.value, timestamps.now())))
    where = "the system's keyring" if place == "keyring" else f"{shown(store.file)}, for you alone"
    output.say(f"Logged in as context {context.name}; the token is in {where}.")
    for variable in (resolution.TOKEN_VARIABLE, resolution.URL_VARIABLE):
        if session.options.environment.get(variable):
            output.warn(f"{variable} is set and wins over this login; unset it to use the login.")
    output.say("Next: `backupexport targets`, then `backupexport export PROJECT --download`.")


def _by_kubernetes(
    session: Session,
    name: str | None,
    release: str | None,
    projects: list[str],
    subject: str | None,
    ttl: str,
) -> None:
    from getpass import getuser

    from backupexport_cli.kubectl.process import Kubectl
    from backupexport_cli.login import contexts, installation
    from backupexport_cli.login.minting import grant_of
    from backupexport_cli.login.tokens import Tokens

    options = session.options
    if name:
        contexts.valid_name(name)
    # Wrong options are told before anything is asked.
    grant_of(subject or "?", projects, ttl, every_project=not projects)
    kubectl = Kubectl(
        options.kubeconfig_context,
        options.namespace,
        on_run=lambda command: session.trace(" ".join(command)),
        environment=options.environment,
    )
    api = installation.find(kubectl, release)
    who = subject or installation.kubernetes_user(kubectl) or getuser()
    grant = grant_of(who, projects, ttl, every_project=not projects)
    token = installation.mint_in_pod(kubectl, api, grant, ttl)
    context = contexts.Context(
        name or options.context or "",
        "",
        kube_context=options.kubeconfig_context or installation.current_context(kubectl),
        kube_namespace=api.namespace,
        kube_service=api.name,
        kube_cluster=installation.cluster_identity(kubectl),
    )
    kept = contexts.load()
    _refuse_another_place(kept, context, name)
    if not context.name:
        context = contexts.named(kept, context, f"{api.namespace}-{api.release}")
    _keep(session, context, Tokens(token, context.place))
