"""The body of POST /api/jobs/{job_id}/link, and what answers it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from backupexport_api.download_links import DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS


class LinkRequest(BaseModel):
    """How long the link is to be good."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{}, {"lifetime_seconds": 3600}]},
    )

    lifetime_seconds: int = Field(default=DEFAULT_SECONDS, ge=LEAST_SECONDS, le=MOST_SECONDS)
    """In seconds; an installation may allow less than the most."""

    @field_validator("lifetime_seconds", mode="before")
    @classmethod
    def _whole_number(cls, value: Any) -> Any:
        """JSON has one kind of numbers: to a reader of the OpenAPI document 60.0 is an integer."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def seconds(self, most: int) -> int:
        """The lifetime where `most` is allowed; the default yields, what is asked for does not."""
        given = "lifetime_seconds" in self.model_fields_set
        return self.lifetime_seconds if given else min(self.lifetime_seconds, most)


class LinkView(BaseModel):
    """A link to a job's file, which needs no token."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    url: str
    """The link; a path where the installation has not said where it is reached."""
    expires_at: str
    """How long it is good; UTC."""
