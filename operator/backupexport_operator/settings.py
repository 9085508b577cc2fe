"""The operator's settings, read once from BACKUPEXPORT_… environment values and checked."""

import socket
import uuid
from typing import Literal

from backupexport_contract import names
from backupexport_contract.fields import Seconds
from backupexport_runtime.settings_errors import ENV_PREFIX
from kubernetes.aio.client import V1PodTemplateSpec
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backupexport_operator.leader.decision import Timings
from backupexport_operator.manifests.pod import (
    JobSettings,
    PodTemplate,
    RunnerPods,
    with_text_quantities,
)
from backupexport_operator.observed.observation import TARGET_PATIENCE


def _known_to_kubernetes(name: str, template: PodTemplate) -> PodTemplate:
    """Raises ValueError with the place of the first field that Kubernetes doesn't have so."""
    given = {"spec": {}} | {key: value for key, value in template.items() if value is not None}
    whole = given
    if isinstance(given["spec"], dict):
        # The one field that a pod must have.
        whole = given | {"spec": {"containers": []} | given["spec"]}
    try:
        read = V1PodTemplateSpec.model_validate(with_text_quantities(whole))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{name}: {place}: {first['msg']}") from None
    if any(container.name != names.RUNNER_CONTAINER for container in read.spec.containers):
        raise ValueError(f"{name}: spec.containers: the only container is {names.RUNNER_CONTAINER}")
    return given


class Settings(JobSettings, BaseSettings):
    """One attribute for each environment value; lists and objects are JSON."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    resync_seconds: Seconds = 60
    """How often everything unfinished is looked at again without an event, in seconds."""
    target_patience_seconds: Seconds = int(TARGET_PATIENCE.total_seconds())
    """How long an export waits after its ExportTarget has gone, in seconds."""
    progress_seconds: float = Field(default=2, ge=0.1)
    """The least time between two progress updates of one export, in seconds."""
    http_port: int = Field(default=8081, ge=1, le=65535)
    """The port of GET /healthz, /readyz and /metrics."""
    storage_checks: bool = True
    """Whether each storage is checked by a small Job, at the start and from time to time."""
    lease_name: str = "backupexport-operator"
    """The Lease that decides which replica leads."""
    lease_seconds: int = Field(default=10, ge=3, le=600)
    """How long a leader may be silent before another replica takes over, in seconds."""
    lease_renew_deadline_seconds: float = Field(default=7, ge=1)
    """How long a leader goes on without a renewal, in seconds; at least 1 less than a lease."""
    lease_retry_seconds: float = Field(default=2, ge=0.1)
    """How often the Lease is renewed or looked at, in seconds; at most half of the deadline."""
    metrics_projects: int = Field(default=50, ge=0)
    """How many projects have a name of their own in the metrics; the rest count together."""
    pod_uid: str = ""
    """The pod's uid, which with the host name tells replicas apart."""
    pod_name: str = ""
    """The pod's name, for the Events that it posts; the host name unless given."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe message that is logged."""
    log_format: Literal["json", "text"] = "json"
    """json for a cluster, text for a terminal."""

    @field_validator("runner_pods", mode="after")
    @classmethod
    def _are_known_to_kubernetes(cls, pods: RunnerPods) -> RunnerPods:
        known = {name: _known_to_kubernetes(name, template) for name, template in pods}
        return RunnerPods(**known)

    @field_validator("lease_renew_deadline_seconds", mode="after")
    @classmethod
    def _ends_before_another_may_lead(cls, value: float, info: ValidationInfo) -> float:
        lease = info.data.get("lease_seconds", value + 1)
        if value > lease - 1:
            raise ValueError("must be at least 1 less than LEASE_SECONDS")
        return value

    @field_validator("lease_retry_seconds", mode="after")
    @classmethod
    def _leaves_time_for_a_second_attempt(cls, value: float, info: ValidationInfo) -> float:
        if value > info.data.get("lease_renew_deadline_seconds", 2 * value) / 2:
            raise ValueError("must be at most half of LEASE_RENEW_DEADLINE_SECONDS")
        return value

    @property
    def lease_timings(self) -> Timings:
        """When a leader renews, gives up and is replaced."""
        return Timings(
            lease=self.lease_seconds,
            renew_deadline=self.lease_renew_deadline_seconds,
            retry=self.lease_retry_seconds,
        )

    @property
    def identity(self) -> str:
        """This replica's name in the Lease; without a pod, another one each time."""
        return f"{socket.gethostname()}_{self.pod_uid or uuid.uuid4()}"

    @property
    def instance(self) -> str:
        """This replica's name in Events."""
        return self.pod_name or socket.gethostname()
