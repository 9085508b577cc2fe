"""What REST shows of a project."""

import json

from backupexport_contract.kubernetes_model import FrozenModel
from pydantic import BaseModel

from backupexport_api.jobs.cached_job import CachedJob, CachedTarget
from backupexport_api.jobs.view import JobView


class ProjectView(FrozenModel):
    """A project that the token is good for."""

    project_id: str
    """What a request for an export names."""
    suspended: bool
    """Whether new exports are held back for now."""
    encryption_required: bool
    """Whether an export without any recipient is refused. The platform may have named some."""
    newest_job: JobView | None
    """Its newest export, however that has ended; null where there is none."""


class ProjectList(BaseModel):
    """Projects by id."""

    data: list[ProjectView]
    next_cursor: str | None


def project_json(target: CachedTarget, newest_job: CachedJob | None) -> bytes:
    """Return the ProjectView of the project that `target` serves, encoded."""
    # Around a job's JSON, which is there already.
    return b'{"project_id":%b,"suspended":%b,"encryption_required":%b,"newest_job":%b}' % (
        json.dumps(target.project_id).encode(),
        json.dumps(target.is_suspended).encode(),
        json.dumps(target.requires_encryption).encode(),
        b"null" if newest_job is None else newest_job.json,
    )
