"""The query of GET /api/projects: how many, and after which one."""

from typing import Annotated

from backupexport_contract.fields import ProjectId
from backupexport_contract.kubernetes_model import FrozenModel
from pydantic import ConfigDict, Field


class ProjectQuery(FrozenModel):
    """Which projects a list shows."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many projects an answer holds at most."""
    # The last project of the answer before: every id is a place in the list, served or not.
    cursor: ProjectId | None = None
    """The next_cursor of an earlier answer: the list goes on from there."""

    @property
    def after(self) -> str:
        """The last project that the client has; less than any where it has none."""
        return self.cursor or ""
