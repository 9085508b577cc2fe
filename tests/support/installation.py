"""What the cluster tests talk to."""

from dataclasses import dataclass

from caller_tokens import caller_token, signing_key
from playground.postgres import Postgres
from playground.release import Release
from playground.rest import Api
from playground.restore import ExportsVolume

LARGE, SMALL = "large", "small"


@dataclass(frozen=True)
class Installation:
    """What the tests talk to; `everything` is a caller with a token for all projects."""

    namespace: str
    server: Postgres
    release: Release
    volume: ExportsVolume
    url: str
    everything: Api

    def caller(self, *projects: str) -> Api:
        """A caller of its own, so with a rate limit of its own; for all projects unless named."""
        return Api(self.url, self.token(*projects))

    def token(self, *projects: str, subject: str | None = None) -> str:
        """A token for all projects unless some are named, of a subject of its own unless named."""
        return caller_token(signing_key(self.release), *(projects or ["*"]), subject=subject)
