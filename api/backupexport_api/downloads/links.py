"""Links that open one job's file for a while, without a token: making and checking them."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from backupexport_contract.kubernetes_model import FrozenModel
from pydantic import ConfigDict, Field, field_validator

EXPIRES = "expires"
SIGNATURE = "signature"
LEAST_SECONDS = 60
MOST_SECONDS = 86400
DEFAULT_SECONDS = 900
SHORTEST_SECRET = 32

# So that nothing else signed with the same secret can pass for a link.
_DOMAIN = b"backupexport download link 1"
_SECONDS = re.compile("[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link's query, not checked yet."""

    expires_s: int
    """In seconds since 1970."""
    signature: str


NO_LINK = SignedLink(expires_s=0, signature="")
"""Checked in place of a missing link, so that the check takes as long."""


def read_link(query: Sequence[tuple[str, str]]) -> SignedLink | None:
    """Return the link in a query; None unless the query has these two fields alone, once each."""
    values = dict(query)
    if len(query) != 2 or values.keys() != {EXPIRES, SIGNATURE}:
        return None
    if not _SECONDS.fullmatch(values[EXPIRES]):
        return None
    return SignedLink(int(values[EXPIRES]), values[SIGNATURE])


def is_link(query: Sequence[tuple[str, str]]) -> bool:
    """Return whether a request comes by a link, good or not, rather than with a token."""
    return any(name in (EXPIRES, SIGNATURE) for name, _ in query)


def link_query(secret: str, job_id: str, uid: str, expires_s: int) -> str:
    """Return the query of a link to the file of the job with this id and this uid."""
    signature = _signature(secret, job_id, uid, expires_s)
    return urlencode({EXPIRES: expires_s, SIGNATURE: signature})


def is_good(link: SignedLink, secret: str, job_id: str, uid: str, now_s: float) -> bool:
    """Return whether the link was signed with `secret` for this job and has not expired."""
    expected = _signature(secret, job_id, uid, link.expires_s)
    # The encoded texts are compared, so that each signature has one spelling.
    is_ours = hmac.compare_digest(expected.encode(), link.signature.encode())
    return is_ours and now_s < link.expires_s


def _signature(secret: str, job_id: str, uid: str, expires_s: int) -> str:
    # Unambiguous: no field can hold a zero byte.
    message = b"\0".join((_DOMAIN, job_id.encode(), uid.encode(), str(expires_s).encode()))
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

    url: str
    """The link; a path where the installation has not said where it is reached."""
    expires_at: str
    """How long it is good; UTC."""
