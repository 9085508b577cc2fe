"""What a line of the audit trail holds."""

import json
from typing import Literal, TypeVar

from backupexport_contract.kubernetes_model import FrozenModel

LOGGER = "backupexport.audit"

Action = Literal[
    "create", "cancel", "link", "take_back_links", "download_start", "download_end", "refusal"
]

# What an issuer's own claims may take of a line; a subject's bound is that of tokens.
LONGEST_TEXT = 1024

_Text = TypeVar("_Text", bound=str | None)


class AuditRecord(FrozenModel):
    """One event; what doesn't apply to it, or is not known, is null."""

    time: str
    """When it was; UTC."""
    logger: str = LOGGER
    """Tells these lines from the log's."""
    action: Action
    """What was asked for, or `refusal` for an answer 401 or 403."""
    outcome: str
    """Of `create`: `accepted`, `replayed` (the same Idempotency-Key again). Of `cancel`:
    `accepted`, `repeated`, `too_late`. Of `link`: `made`. Of `take_back_links`: `done`. Of
    `create`, `cancel` and `take_back_links`: `unanswered` where the Kubernetes API did not say
    whether it is done. Of `download_start`: `started`, or `redirected` to a
    bucket, which has no `download_end`. Of `download_end`: `complete`, `vanished`,
    `stalled`, `failed`, `interrupted`. Of `refusal`: the problem's `code`."""
    request_id: str
    """The request's X-Request-ID."""
    route: str | None
    """The request's method and route, such as `GET /api/jobs/{job_id}`."""
    client: str | None
    """The client's address: the peer's, or, from a trusted proxy, the one that it names."""
    subject: str | None = None
    """The token's `sub`. Null by a link, and where there was no good token."""
    issuer: str | None = None
    """The token's `iss`."""
    token_id: str | None = None
    """The token's `jti`."""
    project: str | None = None
    """The project's id."""
    job: str | None = None
    """The job's id; in a refusal as the request gives it."""
    link: str | None = None
    """The link's id; in a refusal as the request gives it. Null where all links are taken back."""
    link_maker: str | None = None
    """A hash of the issuer and subject that made the link."""
    bytes: int | None = None
    """Of `download_start` how many are to be sent, of `download_end` how many were. Null where a
    bucket sends them."""

    def line(self) -> str:
        """Return the record as a line of ASCII without control characters."""
        return json.dumps({name: _clean(value) for name, value in self})


def _clean(value: _Text) -> _Text | str:
    """Bound and clean a text; anything else stays as it is."""
    if not isinstance(value, str):
        return value
    text = value[:LONGEST_TEXT]
    if text.isprintable():
        return text
    # What is not printable may order a terminal about, or be no Unicode.
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
