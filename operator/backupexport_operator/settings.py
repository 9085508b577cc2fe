"""The operator's settings, read once from BACKUPEXPORT_… environment values and checked."""

import socket
import uuid
from typing import Annotated, Literal

from backupexport_contract import names
from backupexport_contract.deliveries import Deliveries
from backupexport_runtime.settings_errors import ENV_PREFIX
from kubernetes.aio.client import V1PodTemplateSpec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from backupexport_operator.leader.decision import Timings
from backupexport_operator.manifests.delivery_job import PublicApi
from backupexport_operator.manifests.pod import PodTemplate, RunnerDefaults, with_text_quantities

PositiveSeconds = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _known_to_kubernetes(template: PodTemplate) -> PodTemplate:
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
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if any(container.name != names.RUNNER_CONTAINER for container in read.spec.containers):
        raise ValueError(f"spec.containers: the only container is {names.RUNNER_CONTAINER}")
    return given


class RunnerPods(BaseModel):
    """Settings of the Jobs' pods, which `manifests/pod.py` merges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    all: Annotated[PodTemplate, AfterValidator(_known_to_kubernetes)] = {}
    """Of all Jobs."""
    tasks: Annotated[PodTemplate, AfterValidator(_known_to_kubernetes)] = {}
    """Of the small Jobs alone, which clean up and deliver; wins over `all`."""


class Settings(BaseSettings):
    """One attribute for each environment value; lists and objects are JSON."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    namespace: str
    """The namespace whose BackupExports are served."""
    runner_image: str
    """The image of the Jobs' container."""
    claim_name: str
    """The PersistentVolumeClaim that exports are written to."""
    runner_pods: RunnerPods = RunnerPods()
    """The Jobs' pods: partial PodTemplateSpecs, `all`, and `tasks` for the small Jobs alone."""
    release: str = ""
    """The label app.kubernetes.io/instance of Jobs and their pods; they have none unless given."""
    backoff_limit: int = Field(default=4, ge=0, le=20)
    """How often a failure that may heal is tried again."""
    active_deadline_seconds: PositiveSeconds = 6 * 3600
    """How long an export may take in all, in seconds."""
    ttl_seconds_after_finished: PositiveSeconds = 3600
    """How long a finished Job (not its file) stays, in seconds."""
    max_concurrent: int = Field(default=20, ge=0)
    """How many exports may run at once, of all projects together; 0 for no limit."""
    retention_seconds: PositiveSeconds | None = None
    """How long finished exports are kept, in seconds, unless they or their target say."""
    kueue_queue_name: str | None = None
    """Kueue's LocalQueue for the Jobs, unless the ExportTarget names one."""
    deliveries: Deliveries = Deliveries()
    """How exports reach their owners, as in an ExportTarget's spec.deliveries, which wins."""
    public_url: str | None = None
    """Where people reach the api, for the mails; they say it in words unless given."""
    downloads: bool = False
    """Whether people get files from the api, for the mails."""
    resync_seconds: PositiveSeconds = 60
    """How often everything unfinished is looked at again without an event, in seconds."""
    progress_seconds: float = Field(default=2, ge=0.1)
    """The least time between two progress updates of one export, in seconds."""
    http_port: int = Field(default=8081, ge=1, le=65535)
    """The port of GET /healthz, /readyz and /metrics."""
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
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe message that is logged."""
    log_format: Literal["json", "text"] = "json"
    """json for a cluster, text for a terminal."""

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
    def public_api(self) -> PublicApi:
        """What people are told of the api."""
        return PublicApi(self.public_url, has_downloads=self.downloads)

    @property
    def identity(self) -> str:
        """This replica's name in the Lease; without a pod, another one each time."""
        return f"{socket.gethostname()}_{self.pod_uid or uuid.uuid4()}"

    @property
    def runner_defaults(self) -> RunnerDefaults:
        """What every Job is made with."""
        return RunnerDefaults(
            image=self.runner_image,
            claim_name=self.claim_name,
            pod_template=self.runner_pods.all,
            task_pod_template=self.runner_pods.tasks,
            release=self.release,
            backoff_limit=self.backoff_limit,
            active_deadline_seconds=self.active_deadline_seconds,
            ttl_seconds_after_finished=self.ttl_seconds_after_finished,
            queue_name=self.kueue_queue_name,
        )
