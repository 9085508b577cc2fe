"""The api's Deployment in a cluster, and tokens that a program in its pods makes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login.access import valid_token
from backupexport_cli.login.minting import Grant, pod_command
from backupexport_cli.output.clean import clean

_LABELS = "app.kubernetes.io/part-of=backupexport,app.kubernetes.io/component=api"
_INSTANCE = "app.kubernetes.io/instance"


class KubectlRuns(Protocol):
    """What is needed of the user's kubectl; each method raises CliError."""

    def run(self, *arguments: str) -> str:
        """Return what it prints."""

    def json(self, *arguments: str) -> Any:
        """Return the JSON document that it prints."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An api: its Deployment and its Service have one name."""

    namespace: str
    release: str
    name: str


def find(kubectl: KubectlRuns, release: str | None) -> Installation:
    """Return the only installation in kubectl's namespace, of that release if one is named."""
    labels = _LABELS if release is None else f"{_LABELS},{_INSTANCE}={release}"
    # One argument: what a user gives can't be an option.
    found = installations_of(kubectl.json("get", "deployments.apps", f"--selector={labels}"))
    if len(found) == 1:
        return found[0]
    if not found:
        of = "" if release is None else f" of the release {release}"
        raise CliError(
            ExitCode.NOT_FOUND,
            f"There is no backupexport api{of} in this namespace.",
            "Name the namespace with -n, and its Helm release with --release.",
        )
    releases = ", ".join(sorted(each.release for each in found))
    raise CliError(
        ExitCode.USAGE,
        "There is more than one backupexport api in this namespace.",
        f"Name one of these with --release: {releases}.",
    )


def installations_of(document: Any) -> list[Installation]:
    """Return what a list of Deployments shows."""
    items = document.get("items") if isinstance(document, dict) else None
    found = []
    for item in items if isinstance(items, list) else []:
        metadata = item.get("metadata", {})
        labels = metadata.get("labels") or {}
        found.append(
            Installation(
                str(metadata.get("namespace", "")),
                str(labels.get(_INSTANCE, "")),
                str(metadata.get("name", "")),
            )
        )
    return found


def mint_in_pod(kubectl: KubectlRuns, api: Installation, grant: Grant, ttl: str) -> str:
    """Return a token that the api itself has made; raises CliError."""
    where = (f"deployments/{api.name}", f"--namespace={api.namespace}", "--container=api")
    printed = kubectl.run("exec", *where, "--", *pod_command(grant, ttl))
    lines = printed.split()
    if len(lines) != 1:
        raise CliError(
            ExitCode.FAILED,
            f"The program in the api's pod printed no token but: {clean(printed, 200)}.",
            "Look at the api's log, or make a token where its secret is:"
            " `backupexport token --help`.",
        )
    return valid_token(lines[0])


def current_context(kubectl: KubectlRuns) -> str:
    """Return the context that the kubeconfig names now, so that a later one changes nothing."""
    return kubectl.run("config", "current-context").strip()


def cluster_identity(kubectl: KubectlRuns) -> str:
    """Return what tells the context's cluster from others: a hash of its address and authority."""
    told = kubectl.run(
        "config", "view", "--minify", "--raw", "--output=jsonpath={.clusters[0].cluster}"
    )
    return hashlib.sha256(told.strip().encode()).hexdigest()[:32]


def current_namespace(kubectl: KubectlRuns) -> str:
    """Return the namespace that the kubeconfig's context is about."""
    told = kubectl.run(
        "config", "view", "--minify", "--output=jsonpath={.contexts[0].context.namespace}"
    )
    return told.strip() or "default"


def kubernetes_user(kubectl: KubectlRuns) -> str | None:
    """Return who Kubernetes takes the user for; None where it doesn't say (before 1.28)."""
    try:
        review = kubectl.json("auth", "whoami")
    except CliError:
        return None
    parts: Sequence[str] = ("status", "userInfo", "username")
    for part in parts:
        review = review.get(part) if isinstance(review, dict) else None
    return review if isinstance(review, str) and review.strip() else None
