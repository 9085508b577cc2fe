"""Links that open one job's file for a while, without a token."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, field_validator

EXPIRES = "expires"
SIGNATURE = "signature"
LEAST_SECONDS = 60
MOST_SECONDS = 86400
DEFAULT_SECONDS = 900
SHORTEST_SECRET = 32

# Nothing else that is ever signed with the same secret can be taken for a link.
_DOMAIN = b"backupexport download link 1"
_SECONDS = re.compile("[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class SignedLink:
    """What a link's query says; not checked yet."""

    expires_s: int
    """Since 1970."""
    signature: str


NO_LINK = SignedLink(expires_s=0, signature="")
"""No link at all, for checks that are to take as long as others."""


def read_link(query: Sequence[tuple[str, str]]) -> SignedLink | None:
    """The link in a query; None unless it has just these two fields, once each."""
    values = dict(query)
    if len(query) != 2 or values.keys() != {EXPIRES, SIGNATURE}:
        return None
    if not _SECONDS.fullmatch(values[EXPIRES]):
        return None
    return SignedLink(int(values[EXPIRES]), values[SIGNATURE])


def is_link(query: Sequence[tuple[str, str]]) -> bool:
    """Whether a request comes by a link, good or not, rather than with a token."""
    return any(name in (EXPIRES, SIGNATURE) for name, _ in query)


def link_query(secret: str, job_id: str, uid: str, expires_s: int) -> str:
    """The query of a link to the file of the job with this id, and this uid of its resource."""
    signature = _signature(secret, job_id, uid, expires_s)
    return urlencode({EXPIRES: expires_s, SIGNATURE: signature})


def is_good(link: SignedLink, secret: str, job_id: str, uid: str, now_s: float) -> bool:
    """Whether the link was made by us for this job, and its time is not over."""
    expected = _signature(secret, job_id, uid, link.expires_s)
    # The texts are compared, not what they decode to: each signature has one spelling.
    is_ours = hmac.compare_digest(expected.encode(), link.signature.encode())
    return is_ours and now_s < link.expires_s


def _signature(secret: str, job_id: str, uid: str, expires_s: int) -> str:
    # No two lists of fields make the same message: none of the fields can hold a zero byte.
    message = b"\0".join((_DOMAIN, job_id.encode(), uid.encode(), str(expires_s).encode()))
    digest = hmac.digest(secret.encode(), message, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


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
