"""What a shell completes: ids of projects and jobs; silent where the server has no quick answer."""

import typer

from backupexport_cli.errors import CliError
from backupexport_cli.service.interface import JobFilter
from backupexport_cli.session import GlobalOptions, Session

_MOST = 50


def job_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest jobs' ids."""
    session = _session_of(context)
    try:
        jobs = session.exports().jobs(JobFilter(), _MOST)
    except CliError:
        return []
    finally:
        session.close()
    found = [(job["job_id"], f"{job['project_id']}, {job['status']}") for job in jobs]
    return [each for each in found if each[0].startswith(incomplete)]


def project_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the ids of the projects that the token may export."""
    session = _session_of(context)
    try:
        projects = session.rest().projects(_MOST)
    except CliError:
        return []
    finally:
        session.close()
    ids = [str(project["project_id"]) for project in projects]
    return [(each, "") for each in ids if each.startswith(incomplete)]


def _session_of(context: typer.Context) -> Session:
    # While a shell completes, no callback runs.
    given = context.find_root().params
    options = {
        name: given[name]
        for name in ("context", "url", "kube", "namespace", "kubeconfig_context", "insecure_http")
        if given.get(name) is not None
    }
    return Session(GlobalOptions(**options, quiet=True))
