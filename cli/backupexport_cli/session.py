"""What the global options and the environment say: which server, which token, which form."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.console import Output
from backupexport_cli.service.interface import Exports
from backupexport_cli.service.loopback import is_loopback

if TYPE_CHECKING:
    from backupexport_cli.kubectl.process import Kubectl
    from backupexport_cli.login.contexts import Context
    from backupexport_cli.login.resolution import Chosen
    from backupexport_cli.service.http import Bearer
    from backupexport_cli.service.rest import RestExports


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What stands before or after any command."""

    context: str | None = None
    url: str | None = None
    kube: bool = False
    namespace: str | None = None
    kubeconfig_context: str | None = None
    release: str | None = None
    insecure_http: bool = False
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    is_hurried: bool = False
    """Whether nobody waits for an answer that takes longer than a moment."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Session:
    """One run of a command; what it opens is closed with it."""

    def __init__(self, options: GlobalOptions, output: Output | None = None) -> None:
        """Nothing is read or opened before it is asked for."""
        self.options = options
        self.output = output or Output(
            is_json=options.json, quiet=options.quiet, environment=options.environment
        )
        self._rest: RestExports | None = None
        self._opened = ExitStack()

    @property
    def kube(self) -> bool:
        """Whether the custom resources are asked instead of the api."""
        return self.options.kube

    @property
    def verbose(self) -> bool:
        """Whether requests are told."""
        return self.options.verbose

    def command(self, *words: str) -> str:
        """Return what to type for another command that is asked in the same place."""
        import shlex

        options = self.options
        with_value = {
            "--context": options.context,
            "--url": options.url,
            "-n": options.namespace,
            "--kubeconfig-context": options.kubeconfig_context,
            "--release": options.release,
        }
        given = ["--kube"] if options.kube else []
        for name, value in with_value.items():
            given += [] if value is None else [name, value]
        given += ["--insecure-http"] if options.insecure_http else []
        return shlex.join(["backupexport", *given, *words])

    def exports(self) -> Exports:
        """Return where exports are asked for: the api, or Kubernetes with --kube."""
        if not self.kube:
            return self.rest()
        from backupexport_cli.kubectl.exports import KubeExports

        kubectl = self._kubectl(self.options.kubeconfig_context, self.options.namespace)
        return KubeExports(kubectl, on_cut=self._tell_of_cut)

    def rest(self) -> "RestExports":
        """Return the api, which has links and files too; raises CliError where none is named."""
        if self._rest is None:
            self._rest = self._opened_rest()
        return self._rest

    def check_access(self) -> None:
        """Raise CliError where --kube has no way to the api, or no token for it."""
        if self.kube:
            *_, bearer = self._way_in_cluster()
            bearer.value()

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()

    def trace(self, text: str) -> None:
        """Tell a request, with --verbose."""
        if self.verbose:
            self.output.trace(text)

    def chosen(self) -> "Chosen":
        """Return which server is meant, and what speaks for the user there; raises CliError."""
        from backupexport_cli.login import resolution

        options = self.options
        url = options.url or options.environment.get(resolution.URL_VARIABLE) or None
        if url is not None:
            url = server_url(url, allow_http=options.insecure_http)
        return resolution.chosen(
            url,
            options.context,
            self._environment_of(url),
            is_hurried=options.is_hurried,
            trace=self.trace,
        )

    def _environment_of(self, url: str | None) -> Mapping[str, str]:
        """Return the environment, without its token where that is for another address.

        None is the address of what is no server of the web's.
        """
        from backupexport_cli.login import resolution

        environment = self.options.environment
        named = environment.get(resolution.URL_VARIABLE, "").strip().rstrip("/")
        if named in ("", url):
            return environment
        return {
            name: value for name, value in environment.items() if name != resolution.TOKEN_VARIABLE
        }

    def rest_at(
        self, url: str, bearer: "Bearer | None", *, is_forwarded: bool = False
    ) -> "RestExports":
        """Return the api at an address of `server_url`, or at one that ends with the command."""
        from backupexport_cli.service.http import ApiHttp
        from backupexport_cli.service.rest import RestExports

        http = ApiHttp(
            url,
            bearer,
            say=self.output.say,
            trace=self.trace,
            is_hurried=self.options.is_hurried,
        )
        self._opened.callback(http.close)
        return RestExports(http, is_forwarded=is_forwarded)

    def _opened_rest(self) -> "RestExports":
        if self.kube:
            return self._rest_in_cluster()
        chosen = self.chosen()
        context = chosen.context
        if context.kube_service is not None:
            self._refuse_another_way(context)
            kubectl = self._kubectl(context.kube_context, context.kube_namespace)
            self._refuse_another_cluster(kubectl, context)
            return self._forwarded(kubectl, context.kube_service, chosen.bearer)
        allow_http = context.insecure_http or self.options.insecure_http
        return self.rest_at(server_url(context.url, allow_http=allow_http), chosen.bearer)

    def _refuse_another_way(self, context: "Context") -> None:
        """Raise CliError where the options lead away from the installation that the token is of."""
        options = self.options
        given = (
            ("--kubeconfig-context", options.kubeconfig_context, context.kube_context),
            ("-n", options.namespace, context.kube_namespace),
        )
        others = [name for name, value, own in given if value is not None and value != own]
        others += ["--release"] if options.release is not None else []
        if others:
            raise CliError(
                ExitCode.USAGE,
                f"{' and '.join(others)} can't lead the context {context.name} to another place"
                f" than {context.place}, which its token is for.",
                "Leave that out, or add --kube.",
            )

    def _refuse_another_cluster(self, kubectl: "Kubectl", context: "Context") -> None:
        """Raise CliError where the name in the kubeconfig is another cluster's by now."""
        from backupexport_cli.login import installation

        if installation.cluster_identity(kubectl) != context.kube_cluster:
            raise CliError(
                ExitCode.NOT_ALLOWED,
                f"The kubeconfig's context {context.kube_context} is of another cluster than the"
                " one you have logged in to, and its token stays here.",
                f"Log in to this one: {context.login_command}",
            )

    def _rest_in_cluster(self) -> "RestExports":
        """Return the api of the installation that --kube means."""
        return self._forwarded(*self._way_in_cluster())

    def _way_in_cluster(self) -> "tuple[Kubectl, str, Bearer]":
        """Return how the installation that --kube means is reached: its Service, and a token."""
        from backupexport_cli.kubectl.port_forward import find_api_service
        from backupexport_cli.login import installation

        options = self.options
        kubectl = self._kubectl(options.kubeconfig_context, options.namespace)
        cluster = options.kubeconfig_context or installation.current_context(kubectl)
        namespace = options.namespace or installation.current_namespace(kubectl)
        # By name from here on: the kubeconfig's own choice may become another one meanwhile.
        kubectl = self._kubectl(cluster, namespace)
        meant = self._meant_service(cluster, namespace)
        service = find_api_service(kubectl, options.release, preferred=meant)
        identity = installation.cluster_identity(kubectl)
        return kubectl, service, self._bearer_in_cluster(identity, namespace, service)

    def _meant_service(self, cluster: str, namespace: str) -> str | None:
        """Return the Service of the named or current context, where it leads to that namespace."""
        from backupexport_cli.login import contexts

        kept = contexts.load()
        meant = kept.by_name.get(self.options.context or kept.current or "")
        if meant is None or (meant.kube_context, meant.kube_namespace) != (cluster, namespace):
            return None
        return meant.kube_service

    def _bearer_in_cluster(self, cluster: str, namespace: str, service: str) -> "Bearer":
        """Return the token of who logged in there: no other installation gets it."""
        from backupexport_cli.login import contexts, resolution
        from backupexport_cli.login.access import AccessToken, valid_token
        from backupexport_cli.service.http import GivenToken

        given = self._environment_of(None).get(resolution.TOKEN_VARIABLE)
        if given:
            return GivenToken(valid_token(given))
        kept, there = contexts.load(), (cluster, namespace, service)
        # Of two that lead there, the one that is meant.
        meant = self.options.context or kept.current
        for context in sorted(kept.by_name.values(), key=lambda each: each.name != meant):
            if (context.kube_cluster, context.kube_namespace, context.kube_service) == there:
                return AccessToken(context, trace=self.trace)
        raise CliError(
            ExitCode.NOT_ALLOWED,
            "There is no token for this installation's api.",
            f"Get one of it: backupexport --kube -n {namespace} login",
        )

    def _kubectl(self, context: str | None, namespace: str | None) -> "Kubectl":
        from backupexport_cli.kubectl.process import Kubectl

        if self.options.is_hurried:
            raise CliError(ExitCode.UNREACHABLE, "kubectl takes longer than a moment.")
        return Kubectl(
            context,
            namespace,
            on_run=lambda command: self.trace(" ".join(command)),
            environment=self.options.environment,
        )

    def _forwarded(
        self, kubectl: "Kubectl", service: str, bearer: "Bearer | None"
    ) -> "RestExports":
        from backupexport_cli.kubectl.port_forward import port_forward

        url = self._opened.enter_context(port_forward(kubectl, service, "http"))
        return self.rest_at(url, bearer, is_forwarded=True)

    def _tell_of_cut(self, error: CliError) -> None:
        self.output.say(f"{error.message} The export goes on, and the command waits for it.")


def server_url(text: str, *, allow_http: bool) -> str:
    """Return a server's address as it is used; raises CliError where it is none."""
    from urllib.parse import urlsplit

    wrong = CliError(
        ExitCode.USAGE,
        "The server's address is not one of the web.",
        "Write it as https://exports.example.com",
    )
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise wrong
    if parts.username is not None or parts.password is not None:
        raise CliError(
            ExitCode.USAGE,
            "The server's address has a user or a password in it.",
            "Leave them out, and log in: backupexport login URL",
        )
    if parts.scheme == "http" and not is_loopback(host) and not allow_http:
        raise CliError(
            ExitCode.USAGE,
            "The server's address is http://, where everybody on the way reads the token.",
            "Use https://, or say --insecure-http.",
        )
    return text.strip().rstrip("/")
