"""What the cluster tests talk to."""

import secrets
from dataclasses import dataclass

from playground.postgres import Postgres
from playground.release import Release
from playground.rest import Api
from playground.restore import ExportsVolume

LARGE, SMALL = "large", "small"


@dataclass(frozen=True)
class Installation:
    """What the tests talk to; `everything` is a caller whose token has no projects claim."""

    namespace: str
    server: Postgres
    release: Release
    volume: ExportsVolume
    url: str
    everything: Api

    def caller(self, *projects: str) -> Api:
        """A caller of its own, so with a rate limit of its own."""
        claims = [option for project in projects for option in ("--project", project)]
        subject = f"test-{secrets.token_hex(4)}"
        return Api(self.url, self.release.token(subject, *claims))
