"""The base of our typed resources, and the parts that every Kubernetes object has."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class FrozenModel(BaseModel):
    """What never changes; the text under a field describes it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class KubernetesModel(FrozenModel):
    """camelCase outside, snake_case inside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    def to_manifest(self) -> dict[str, Any]:
        """Plain JSON types under the API's names, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ObjectMeta(KubernetesModel):
    """The part of a Kubernetes object's metadata that this project reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []


class Condition(KubernetesModel):
    """A condition in the standard shape (KEP-1623)."""

    type: str = Field(max_length=316)
    """What the condition is about, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: str = Field(max_length=1024)
    """Why, in one CamelCase word for programs."""
    message: str = Field(default="", max_length=32768)
    """Why, in a sentence for people."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: int | None = None
    """The metadata.generation that this condition was computed from."""
