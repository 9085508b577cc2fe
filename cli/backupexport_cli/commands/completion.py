"""What a shell completes: ids of projects and jobs; silent where the server has no quick answer."""

import threading
from collections.abc import Callable
from contextlib import closing, suppress

import typer

from backupexport_cli.service.interface import JobFilter
from backupexport_cli.session import GlobalOptions, Session

_MOST = 50
_SECONDS = 3.0
_GLOBAL = (
    "context", "url", "kube", "namespace", "kubeconfig_context", "release", "insecure_http",
)  # fmt: skip

Completions = list[tuple[str, str]]
"""Each with a word about it."""


def job_ids(context: typer.Context, incomplete: str) -> Completions:
    """Return the newest jobs' ids."""

    def asked(session: Session) -> Completions:
        jobs = session.exports().jobs(JobFilter(), _MOST)
        return [(job["job_id"], f"{job['project_id']}, {job['status']}") for job in jobs]

    return _beginning(incomplete, context, asked)


def project_ids(context: typer.Context, incomplete: str) -> Completions:
    """Return the ids of the projects that the token may export."""

    def asked(session: Session) -> Completions:
        return [(str(each["project_id"]), "") for each in session.rest().projects(_MOST)]

    return _beginning(incomplete, context, asked)


def _beginning(
    incomplete: str, context: typer.Context, asked: Callable[[Session], Completions]
) -> Completions:
    found: Completions = []

    def ask() -> None:
        # A shell would show a word of what fails in the middle of what is typed.
        with suppress(Exception), closing(_session_of(context)) as session:
            found.extend(asked(session))

    # A keyring may take long, too, and nothing of it can be stopped.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS)
    return [each for each in found if each[0].startswith(incomplete)]


def _session_of(context: typer.Context) -> Session:
    # While a shell completes, no callback runs.
    given = context.find_root().params
    options = {name: given[name] for name in _GLOBAL if given.get(name) is not None}
    return Session(GlobalOptions(**options, quiet=True, is_hurried=True))
