"""Requests as many callers send them, prepared in advance."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence

import jwt
import load_client

_LIFETIME_SECONDS = 3600


class Callers:
    """Subjects with a token each, who take turns."""

    def __init__(self, secret: str, count: int) -> None:
        now = int(time.time())
        self._headers = [
            {
                "Authorization": "Bearer "
                + jwt.encode(
                    {
                        "sub": f"caller-{number}@example.com",
                        "projects": ["*"],
                        "iat": now,
                        "exp": now + _LIFETIME_SECONDS,
                    },
                    secret,
                    algorithm="HS256",
                )
            }
            for number in range(count)
        ]
        self._turns = itertools.cycle(self._headers)

    def next_headers(self) -> dict[str, str]:
        """The headers of whose turn it is."""
        return next(self._turns)

    def gets(self, paths: Sequence[str]) -> list[bytes]:
        """GETs of `paths`, over and over until each caller has sent one."""
        count = max(len(paths), len(self._headers))
        return [
            load_client.request("GET", path, self.next_headers())
            for path in itertools.islice(itertools.cycle(paths), count)
        ]

    def posts(self, projects: Sequence[str]) -> Iterator[bytes]:
        """Requests for exports, without an end."""
        for project in itertools.cycle(projects):
            body = json.dumps({"project_id": project, "format": "sql", "compress": True})
            headers = self.next_headers() | {"Content-Type": "application/json"}
            yield load_client.request("POST", "/api/backup/export", headers, body.encode())
