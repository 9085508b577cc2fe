"""Links that open one job's file for a while, without a token: making and checking them."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from backupexport_contract.kubernetes_model import FrozenModel
from pydantic import ConfigDict, Field, field_validator

from backupexport_api.jobs.link_state import LINK_ID

LINK, MAKER = "link", "maker"
EXPIRES = "expires"
SIGNATURE = "signature"
LEAST_SECONDS = 60
MOST_SECONDS = 86400
DEFAULT_SECONDS = 900
SHORTEST_SECRET = 32

# So that nothing else signed with the same secret can pass for a link.
_DOMAIN = b"backupexport download link 2"
_MAKER_DOMAIN = b"backupexport maker of links 1"
_FIELDS = {
    LINK: re.compile(LINK_ID),
    MAKER: re.compile("[0-9a-f]{16}"),
    EXPIRES: re.compile("[1-9][0-9]{0,11}"),
    SIGNATURE: re.compile("(?s:.*)"),
}


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says of itself."""

    link_id: str
    maker: str
    """Of `maker_of`."""
    expires_s: int
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link's query, not checked yet."""

    link: Link
    signature: str


@dataclass(frozen=True, slots=True)
class LinkedJob:
    """What a link opens: the file of one job, while its links are of this generation."""

    job_id: str
    uid: str
    generation: str


NO_LINK = SignedLink(Link(link_id="0" * 16, maker="0" * 16, expires_s=0), signature="")
"""Checked in place of a missing link, so that the check takes as long."""


def read_link(query: Sequence[tuple[str, str]]) -> SignedLink | None:
    """Return the link in a query; None unless the query has its fields alone, once each."""
    values = dict(query)
    if len(query) != len(_FIELDS) or values.keys() != _FIELDS.keys():
        return None
    if not all(_FIELDS[name].fullmatch(value) for name, value in values.items()):
        return None
    link = Link(values[LINK], values[MAKER], int(values[EXPIRES]))
    return SignedLink(link, values[SIGNATURE])


def is_link(query: Sequence[tuple[str, str]]) -> bool:
    """Return whether a request comes by a link, good or not, rather than with a token."""
    return any(name in (EXPIRES, SIGNATURE) for name, _ in query)


def maker_of(secret: str, issuer: str | None, subject: str) -> str:
    """Return a hash of who makes a link: the same for each of theirs, and no way back to them."""
    text = json.dumps([issuer, subject]).encode()
    return hmac.digest(secret.encode(), _MAKER_DOMAIN + b"\0" + text, hashlib.sha256).hex()[:16]


def link_query(secret: str, job: LinkedJob, link: Link) -> str:
    """Return the query of a link to the job's file."""
    signature = _signature(secret, job, link)
    return urlencode(
        {LINK: link.link_id, MAKER: link.maker, EXPIRES: link.expires_s, SIGNATURE: signature}
    )


def is_good(signed: SignedLink, secret: str, job: LinkedJob, now_s: float) -> bool:
    """Return whether the link was signed with `secret` for this job and has not expired.

    Whether it was taken back by its own id is not checked.
    """
    expected = _signature(secret, job, signed.link)
    # The encoded texts are compared, so that each signature has one spelling.
    is_ours = hmac.compare_digest(expected.encode(), signed.signature.encode())
    return is_ours and now_s < signed.link.expires_s


def _signature(secret: str, job: LinkedJob, link: Link) -> str:
    # Any text may stand in an annotation, so the generation is written in hexadecimal.
    generation = job.generation.encode().hex()
    fields = (job.job_id, job.uid, generation, link.link_id, link.maker, str(link.expires_s))
    # Unambiguous: no field can hold a zero byte.
    message = b"\0".join((_DOMAIN, *(field.encode() for field in fields)))
    digest = hmac.digest(secret.encode(), message, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class LinkRequest(FrozenModel):
    """How long the link is to be good."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{}, {"lifetime_seconds": 3600}]},
    )

    lifetime_seconds: int = Field(default=DEFAULT_SECONDS, ge=LEAST_SECONDS, le=MOST_SECONDS)
    """In seconds; an installation may allow less than the most."""

    @field_validator("lifetime_seconds", mode="before")
    @classmethod
    def _whole_number(cls, value: Any) -> Any:
        """Accept 60.0, too: in JSON Schema it is an integer."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def seconds(self, most: int) -> int:
        """Return the lifetime asked for, or the default where `most` allows it, else `most`."""
        given = "lifetime_seconds" in self.model_fields_set
        return self.lifetime_seconds if given else min(self.lifetime_seconds, most)


class LinkView(FrozenModel):
    """A link to a job's file, which needs no token."""

    link_id: str
    """What takes it back: `DELETE /api/jobs/{job_id}/links/{link_id}`."""
    url: str
    """The link; a path where the installation has not said where it is reached."""
    expires_at: str
    """How long it is good; UTC."""
