"""How an export that has ended reaches its owner: the kinds of delivery and their settings.

An attribute of `Deliveries` is a kind: the runner has a module of its name, the operator makes
Jobs for it, and an ExportTarget and the chart have its settings.  Nothing else knows the kinds.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from backupexport_contract.backup_export import BackupExportSpec, BackupExportStatus
from backupexport_contract.fields import CEL_KEY, EmailAddress
from backupexport_contract.kubernetes_model import Condition, KubernetesModel
from backupexport_contract.reasons import Phase

_HOST = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$|^[0-9A-Fa-f:]*:[0-9A-Fa-f:]*$"
# ASCII alone, which Go's regular expressions and Rust's read alike.
_URL = r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~!$&'()*+,;=:%/-]*)?$"
_SECRET_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

# As in an address (rules.EMAIL): names, with a dot at least.
_DOMAIN = (
    r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
)

DomainName = Annotated[str, Field(min_length=1, max_length=253, pattern=_DOMAIN)]
Port = Annotated[int, Field(ge=1, le=65535)]


class SecretReference(KubernetesModel):
    """A Secret in the same namespace."""

    name: str = Field(min_length=1, max_length=253, pattern=_SECRET_NAME)
    """The Secret's name."""


@dataclass(frozen=True, slots=True)
class SettingsRule:
    """What else a kind's settings have to have, or not, where `field` is `value`.

    Fields are named as in the CRD, whose API server checks the rule, as do the chart and the
    operator, for settings that no API server sees.
    """

    field: str
    value: bool | str
    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    message: str = ""

    @property
    def cel(self) -> str:
        """The rule for the API server."""
        field = f"self.{self.field}"
        is_other = f"!{field}" if self.value is True else f"{field} != '{self.value}'"
        parts = [f"has(self.{name})" for name in self.needs]
        parts += [f"!has(self.{name})" for name in self.excludes]
        is_kept = " && ".join(parts)
        return f"{is_other} || {f'({is_kept})' if len(parts) > 1 else is_kept}"

    def is_broken(self, settings: Mapping[str, Any]) -> bool:
        """Whether `settings`, a manifest with its defaults, break it."""
        return settings.get(self.field) == self.value and not (
            settings.keys() >= set(self.needs) and settings.keys().isdisjoint(self.excludes)
        )


def _with_rules(schema: dict[str, Any], form: type["Delivery"]) -> None:
    if form.rules:
        schema[CEL_KEY] = [{"rule": rule.cel, "message": rule.message} for rule in form.rules]


class Delivery(KubernetesModel):
    """What the kinds have in common."""

    model_config = ConfigDict(json_schema_extra=_with_rules)
    rules: ClassVar[tuple[SettingsRule, ...]] = ()
    """What fields need or exclude each other."""
    is_notification: ClassVar[bool] = False
    """Whether REST has it as the job's `notification`, and not among its `deliveries`."""
    links_to_api: ClassVar[bool] = False
    """Whether what it sends has links to the api, whose address the chart then asks for."""
    condition_type: ClassVar[str]
    """The BackupExport's condition that tells of such deliveries."""
    secret_keys: ClassVar[tuple[str, ...]]
    """The keys of its Secret; the delivery's pod gets no other."""
    reads_file: ClassVar[bool] = False
    """Whether the Job needs the project's directory of the volume."""
    attempt_seconds: ClassVar[int | None] = None
    """How long one attempt may take; None for as long as it is tried at all."""

    enabled: bool = True
    """Whether it is made; false on an ExportTarget turns the chart's off for its project."""
    secret_ref: SecretReference | None = None
    """The Secret with the credentials; only the delivery's own pod sees it."""
    ca_certificates: str | None = Field(default=None, max_length=65536)
    """Certificates in PEM that the server's must descend from; the system's unless given."""
    give_up_seconds: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 24 * 3600
    """How long after the export's end it is tried again, in seconds."""

    @classmethod
    def is_asked_for(cls, spec: BackupExportSpec) -> bool:  # noqa: ARG003
        """Whether the export itself asks for one, and is to be told where none is configured."""
        return False

    @classmethod
    def concerns(cls, spec: BackupExportSpec, phase: Phase) -> bool:  # noqa: ARG003
        """Whether there is one for an export that ended in `phase`."""
        return phase is Phase.SUCCEEDED

    def within(self, chart: Self) -> Self:  # noqa: ARG002
        """These settings of a target, with the limits that the chart's set for all targets."""
        return self

    def refusal(self, spec: BackupExportSpec) -> str | None:  # noqa: ARG002
        """Why the settings forbid it, in a sentence; None if they don't."""
        return None

    def may_quote_servers(self, spec: BackupExportSpec) -> bool:  # noqa: ARG002
        """Whether its receiver may read what database servers said."""
        return True

    def quota(self, spec: BackupExportSpec) -> tuple[str, int] | None:  # noqa: ARG002
        """The receiver, and how many an hour it may get at most; None for no limit."""
        return None

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Self:
        settings = self.to_manifest()
        for rule in self.rules:
            if rule.is_broken(settings):
                raise ValueError(rule.message)
        return self


class EmailDelivery(Delivery):
    """A mail to the export's notifyEmail when it ends, well or not."""

    rules: ClassVar = (
        SettingsRule(
            "enabled",
            value=True,
            needs=("host", "from"),
            message="host and from are required where e-mail is enabled",
        ),
        SettingsRule(
            "tls",
            value="none",
            excludes=("secretRef",),
            message="a login needs tls: starttls or tls, it is never sent in the clear",
        ),
    )
    is_notification: ClassVar[bool] = True
    links_to_api: ClassVar[bool] = True
    condition_type: ClassVar[str] = "Notified"
    secret_keys: ClassVar = ("username", "password")
    # The runner waits as RFC 5321, 4.5.3.2 wants, half an hour at most; the rest is for its start.
    attempt_seconds: ClassVar[int | None] = 2400

    secret_ref: SecretReference | None = None
    """A Secret with username and password; without it there is no login."""
    host: str | None = Field(default=None, max_length=253, pattern=_HOST)
    """The mail server."""
    port: Port | None = None
    """The mail server's port; unless given 587 for starttls, 465 for tls, 25 for none."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """starttls: TLS after the greeting, or no mail at all; tls: from the first byte; none."""
    sender: EmailAddress | None = Field(default=None, alias="from")
    """The address that mails come from."""
    allowed_domains: list[DomainName] | None = Field(default=None, max_length=100)
    """The only domains that mails go to; unless given all, but without what servers said."""
    max_per_hour: int = Field(default=60, ge=1, le=10_000)
    """How many mails an hour a mailbox may get, whatever the case and the +tag of its address; the
    others wait."""

    @classmethod
    def is_asked_for(cls, spec: BackupExportSpec) -> bool:
        """Whether there is an address."""
        return spec.notify_email is not None

    @classmethod
    def concerns(cls, spec: BackupExportSpec, phase: Phase) -> bool:
        """Whether there is an address, however the export ended."""
        return phase.is_finished and cls.is_asked_for(spec)

    def within(self, chart: Self) -> Self:
        """With the domains and the rate that both allow."""
        own, of_chart = self.allowed_domains, chart.allowed_domains
        allowed = of_chart if own is None else own
        if own is not None and of_chart is not None:
            among = set(map(str.lower, of_chart))
            allowed = [domain for domain in own if domain.lower() in among]
        most = min(self.max_per_hour, chart.max_per_hour)
        return self.model_copy(update={"allowed_domains": allowed, "max_per_hour": most})

    def refusal(self, spec: BackupExportSpec) -> str | None:
        """Whether the address is of another domain."""
        if self.allowed_domains is None or self.may_quote_servers(spec):
            return None
        return (
            "No mail may go to this domain: name another address, or ask the cluster's "
            "administrators for it in deliveries.email.allowedDomains."
        )

    def may_quote_servers(self, spec: BackupExportSpec) -> bool:
        """Whether the address is of a domain that is named."""
        domain = (spec.notify_email or "").rpartition("@")[2].lower()
        return domain in map(str.lower, self.allowed_domains or ())

    def quota(self, spec: BackupExportSpec) -> tuple[str, int] | None:
        """The mailbox (RFC 5233): the address without its +tag, in lower case."""
        local, _, domain = (spec.notify_email or "").lower().rpartition("@")
        return f"{local.partition('+')[0]}@{domain}", self.max_per_hour


class TelegramDelivery(Delivery):
    """The finished file as documents in a Telegram chat, in parts where it is too large."""

    rules: ClassVar = (
        SettingsRule(
            "enabled",
            value=True,
            needs=("secretRef",),
            message="secretRef is required where Telegram is enabled",
        ),
    )
    condition_type: ClassVar[str] = "Delivered"
    secret_keys: ClassVar = ("token", "chat_id")
    reads_file: ClassVar[bool] = True

    secret_ref: SecretReference | None = None
    """A Secret with the bot's token and the chat_id to send to."""
    api_url: str = Field(default="https://api.telegram.org", max_length=2048, pattern=_URL)
    """The Bot API server; one of your own takes files of up to 2 GB."""
    part_bytes: int = Field(default=50_000_000, ge=1024, le=4_000_000_000)
    """The largest document that the Bot API server takes, in bytes; larger files go in parts."""


class Deliveries(KubernetesModel):
    """How exports reach their owners; what an ExportTarget names wins over the chart's."""

    email: EmailDelivery | None = None
    """Mails to the addresses that exports name."""
    telegram: TelegramDelivery | None = None
    """The finished files to a Telegram chat."""

    @classmethod
    @functools.cache
    def kinds(cls) -> dict[str, type[Delivery]]:
        """Every kind and the class of its settings.

        TypeError where one has no condition, or that of another: they would overwrite each other.
        """
        kinds = {
            kind: next(part for part in get_args(field.annotation) if issubclass(part, Delivery))
            for kind, field in cls.model_fields.items()
        }
        kind_of: dict[str, str] = {}
        for kind, form in kinds.items():
            condition_type = getattr(form, "condition_type", None)
            if not condition_type:
                raise TypeError(f"{form.__name__} has no condition_type")
            other = kind_of.setdefault(condition_type, kind)
            if other != kind:
                raise TypeError(f"{other} and {kind} have one condition_type, {condition_type}")
        return kinds

    def settings_of(self, kind: str) -> Delivery | None:
        """The settings of `kind`, None where there are none."""
        settings: Delivery | None = getattr(self, kind)
        return settings


def conditions_by_kind(status: BackupExportStatus) -> dict[str, Condition]:
    """The conditions of the export's deliveries, under the kinds."""
    told = {condition.type: condition for condition in status.conditions}
    return {
        kind: told[form.condition_type]
        for kind, form in Deliveries.kinds().items()
        if form.condition_type in told
    }


def is_pending(condition: Condition) -> bool:
    """Whether the delivery that the condition tells of is still to be made."""
    return condition.status == "Unknown"


def pending_by_kind(status: BackupExportStatus) -> dict[str, Condition]:
    """The conditions of the deliveries that are still to be made, under the kinds."""
    told = conditions_by_kind(status).items()
    return {kind: condition for kind, condition in told if is_pending(condition)}


def awaits_file(status: BackupExportStatus) -> bool:
    """Whether a delivery of the export's file is still to be made."""
    return any(Deliveries.kinds()[kind].reads_file for kind in pending_by_kind(status))
