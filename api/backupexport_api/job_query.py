"""The query of GET /api/jobs: which jobs, how many, and from where on."""

import base64
import binascii
import json
from typing import Annotated

from backupexport_contract.fields import ProjectId
from backupexport_contract.names import is_uuid
from backupexport_contract.reasons import REST_STATUS, Phase
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from backupexport_api.job_view import JobStatus

# Where a job stands in the list: when it was created, as text that sorts like time, and its id.
Position = tuple[str, str]

_LONGEST_CURSOR = 200
_PHASES = {status: phase for phase, status in REST_STATUS.items()}


class JobQuery(BaseModel):
    """What a list shows."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    project_id: ProjectId | None = None
    """Only jobs of this project."""
    status: JobStatus | None = None
    """Only jobs with this status."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many jobs an answer holds at most."""
    cursor: str | None = None
    """The next_cursor of an earlier answer: the list goes on from there."""

    @field_validator("cursor")
    @classmethod
    def _of_ours(cls, value: str | None) -> str | None:
        if value is not None and _decoded(value) is None:
            raise PydanticCustomError("bad_cursor", "must be the next_cursor of an earlier answer")
        return value

    @property
    def phase(self) -> Phase | None:
        """`status` as the resource spells it."""
        return None if self.status is None else _PHASES[self.status]

    @property
    def after(self) -> Position | None:
        """The last job that the client has."""
        return None if self.cursor is None else _decoded(self.cursor)


def cursor_after(position: Position) -> str:
    """The cursor with which the list goes on behind `position`."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _decoded(cursor: str) -> Position | None:
    if len(cursor) > _LONGEST_CURSOR:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created_at, job_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        return None
    if not isinstance(created_at, str) or not isinstance(job_id, str) or not is_uuid(job_id):
        return None
    return created_at, job_id
