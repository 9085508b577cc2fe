"""The query of GET /api/jobs: which jobs, how many, and after which one."""

import base64
import re
import struct
import uuid
from typing import Annotated

from backupexport_contract.fields import ProjectId
from backupexport_contract.kubernetes_model import FrozenModel
from backupexport_contract.reasons import REST_STATUS, Phase
from pydantic import ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from backupexport_api.jobs.view import JobStatus

Position = tuple[int, str]
"""Where a job stands in the list: its creation in milliseconds since 1970, and its id."""

# 24 bytes in base64url: every text of this shape is some position, so OpenAPI can say all of it.
_CURSOR = r"[A-Za-z0-9_-]{32}"
_POSITION = struct.Struct(">Q16s")

_PHASES = {status: phase for phase, status in REST_STATUS.items()}


class JobQuery(FrozenModel):
    """Which jobs a list shows."""

    model_config = ConfigDict(extra="forbid")

    project_id: ProjectId | None = None
    """Only jobs of this project."""
    status: JobStatus | None = None
    """Only jobs with this status."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many jobs an answer holds at most."""
    cursor: Annotated[str | None, Field(json_schema_extra={"pattern": f"^{_CURSOR}$"})] = None
    """The next_cursor of an earlier answer: the list goes on from there."""

    @field_validator("cursor")
    @classmethod
    def _has_the_shape(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(_CURSOR, value):
            raise PydanticCustomError("bad_cursor", "must be the next_cursor of an earlier answer")
        return value

    @property
    def phase(self) -> Phase | None:
        """`status` as the resource spells it."""
        return None if self.status is None else _PHASES[self.status]

    @property
    def after(self) -> Position | None:
        """Where the last job that the client has stands."""
        if self.cursor is None:
            return None
        milliseconds, job_id = _POSITION.unpack(base64.urlsafe_b64decode(self.cursor))
        return milliseconds, str(uuid.UUID(bytes=job_id))


def cursor_after(position: Position) -> str:
    """Return the cursor with which the list goes on after `position`."""
    milliseconds, job_id = position
    return base64.urlsafe_b64encode(_POSITION.pack(milliseconds, uuid.UUID(job_id).bytes)).decode()
