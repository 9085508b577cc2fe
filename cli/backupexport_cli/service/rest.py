"""The exports of one server, over REST."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service import answers, problems
from backupexport_cli.service.events import job_states
from backupexport_cli.service.http import ApiHttp
from backupexport_cli.service.interface import Job, JobFilter

MOST_LISTED = 200
"""Of one page, as the api allows it."""

_MOST_PAGES = 1000


class RestExports:
    """Asks the api."""

    def __init__(self, http: ApiHttp, *, is_forwarded: bool = False) -> None:
        """`http` leads to it; with `is_forwarded`, by an address that ends with the command."""
        self._http = http
        self._is_forwarded = is_forwarded

    @property
    def url(self) -> str:
        """The server's address."""
        return self._http.url

    def create(self, request: dict[str, Any], idempotency_key: str) -> str:
        """Ask for an export and return its job id."""
        headers = {"Idempotency-Key": idempotency_key}
        answer = self._http.json("POST", "/api/backup/export", body=request, headers=headers)
        return answers.accepted_id(self._data(answer.body), self._http.origin)

    def job(self, job_id: str) -> Job:
        """Return a job as it is now."""
        answer = self._http.json("GET", _path(job_id))
        return answers.job(self._data(answer.body), self._http.origin)

    def jobs(self, wanted: JobFilter, limit: int) -> list[Job]:
        """Return at most `limit` jobs, the newest first."""
        given = {"project_id": wanted.project_id, "status": wanted.status}
        filters = {name: value for name, value in given.items() if value is not None}
        return [
            answers.job(each, self._http.origin)
            for each in self._listed("/api/jobs", filters, limit)
        ]

    def states(self, job_id: str) -> Iterator[Job]:
        """Yield the job now and whenever it changes, until it has finished."""
        return job_states(self._http, job_id, lambda: self.job(job_id))

    def cancel(self, job_id: str) -> None:
        """Stop a job that waits or runs."""
        self._http.json("POST", _path(job_id) + "/cancel")

    def link(self, job_id: str, lifetime_seconds: int | None) -> dict[str, Any]:
        """Return a new link to a job's file: its `url`, `link_id` and `expires_at`."""
        body = {} if lifetime_seconds is None else {"lifetime_seconds": lifetime_seconds}
        answer = self._http.json("POST", _path(job_id) + "/link", body=body)
        link = answers.link(self._data(answer.body), self._http.origin)
        # A path where the installation has not said where it is reached.
        if self._is_forwarded and not urlsplit(link["url"]).netloc:
            raise CliError(
                ExitCode.FAILED,
                "The installation has no public URL, so a link of it would lead nowhere.",
                "Ask its administrators to set the chart's value publicUrl, or fetch the file"
                f" yourself: backupexport download {job_id}",
                code="no_public_url",
            )
        return link | {"url": urljoin(self._http.url + "/", link["url"])}

    def projects(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the projects that the token may export, each with its newest job."""
        listed = self._listed("/api/projects", {}, limit or MOST_LISTED * _MOST_PAGES)
        return [answers.project(each, self._http.origin) for each in listed]

    def client_configuration(self) -> dict[str, Any]:
        """Return what the server tells everybody: how to log in, and what it can do."""
        answer = self._http.json("GET", "/api/client-configuration", with_token=False)
        return self._data(answer.body)

    def open_file(
        self, job_id: str, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> AbstractContextManager[httpx.Response]:
        """Open a job's file from `start` to `end` (its last byte), unread: a 200, 206 or 412, 416.

        With `etag`, 206 comes only of the very file that has it.
        """
        headers = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end}"
            headers |= {"If-Range": etag} if etag else {}
        return self._http.open(
            "GET", _path(job_id) + "/download", headers=headers, follow=True, expected=(412, 416)
        )

    def _listed(self, path: str, filters: dict[str, str], limit: int) -> Iterator[Any]:
        cursor: str | None = None
        left = limit
        for _ in range(_MOST_PAGES):
            params: dict[str, str | int] = {**filters, "limit": min(left, MOST_LISTED)}
            if cursor is not None:
                params["cursor"] = cursor
            body = self._http.json("GET", path, params=params).body
            page = body.get("data") if isinstance(body, dict) else None
            if not isinstance(page, list):
                raise problems.nonsense(self._http.origin, "a list is none")
            yield from page[:left]
            left -= len(page)
            cursor = body.get("next_cursor")
            if left <= 0 or not page or not isinstance(cursor, str):
                return

    def _data(self, body: Any) -> dict[str, Any]:
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            raise problems.nonsense(self._http.origin, "the answer has no data")
        return data


def _path(job_id: str) -> str:
    return f"/api/jobs/{quote(job_id, safe='')}"
