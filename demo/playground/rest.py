"""The REST API as a client sees it."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from playground.tools import wait_for

FINISHED = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and the JSON body of one answer."""

    status: int
    headers: dict[str, str]
    body: Any


class Api:
    """A caller with one token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 15,
    ) -> Answer:
        """One request; errors are answers too."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                **(headers or {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def link(self, job_id: str, lifetime_seconds: int) -> str:
        """A link to the job's file that needs no token."""
        answer = self.call(
            "POST", f"/api/jobs/{job_id}/link", {"lifetime_seconds": lifetime_seconds}
        )
        if answer.status != 201:
            raise RuntimeError(f"POST of a link to job {job_id}: {answer.status} {answer.body}")
        url: str = answer.body["data"]["url"]
        # A path where the API has not been told where it is reached.
        return urllib.parse.urljoin(self.url, url)

    def _call_or_none(self, method: str, path: str) -> Answer | None:
        """None where the connection broke, as it does when the API's pod is replaced."""
        try:
            return self.call(method, path)
        except OSError:
            return None

    def export(self, idempotency_key: str | None = None, **fields: Any) -> Answer:
        """POST /api/backup/export."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self.call("POST", "/api/backup/export", fields, headers=headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """The data of GET /api/jobs/{id}; RuntimeError where that isn't a 200."""
        answer = wait_for(
            lambda: self._call_or_none("GET", f"/api/jobs/{job_id}"), "an answer from the API", 60
        )
        if answer.status != 200:
            raise RuntimeError(f"GET of job {job_id}: {answer.status} {answer.body}")
        data: dict[str, Any] = answer.body["data"]
        return data

    def finished(self, job_id: str, seconds: float = 400) -> dict[str, Any]:
        """The job once it has ended, well or not."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in FINISHED else None

        return wait_for(look, f"the end of job {job_id}", seconds)


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    names = {name.lower(): value for name, value in headers.items()}
    return Answer(status, names, json.loads(body) if body else None)
