"""What the routes of downloads and links do: find the job and its file, and send it."""

import secrets
import time
from datetime import timedelta

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from fastapi import Request, Response

from backupexport_api.audit import trail
from backupexport_api.auth.authentication import Caller
from backupexport_api.downloads import answer, links, problems
from backupexport_api.downloads.bucket import ExportBucket
from backupexport_api.downloads.links import Link, LinkedJob, LinkRequest, LinkView
from backupexport_api.downloads.opened_file import OpenedFile, StorageUnavailableError
from backupexport_api.downloads.places import Place, Places
from backupexport_api.downloads.settings import DownloadSettings, link_secrets
from backupexport_api.downloads.streaming import DownloadResponse
from backupexport_api.http import request_context
from backupexport_api.http.problems import ProblemError
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.finished_file import FinishedFile
from backupexport_api.jobs.store import JobStore
from backupexport_api.kube.errors import StoreUnavailableError
from backupexport_api.limits.rate_limit import RateLimits
from backupexport_api.limits.slots import SlotOwner, Slots
from backupexport_api.telemetry.metrics import DownloadOutcome, Metrics

# What a link's signature is compared with where there is no such job, at the same cost.
_NO_ID = "00000000-0000-0000-0000-000000000000"
_NOBODY = LinkedJob(_NO_ID, _NO_ID, "")
# Clients that wait for a file ask as often as they like: that must not reach the Kubernetes API.
_ASK_AGAIN_SECONDS = 1.0


class Downloads:
    """The downloads of one process; belongs to the event loop."""

    def __init__(self, settings: DownloadSettings, store: JobStore, metrics: Metrics) -> None:
        self._places = Places(settings)
        self._link_secrets = link_secrets(settings)
        self._link_max_seconds = settings.link_max_seconds
        self._public_url = settings.public_url
        self._stall_seconds = settings.download_stall_seconds
        self._slots = Slots(settings.most_downloads, settings.most_downloads_each)
        self._asked = RecentKeys(_ASK_AGAIN_SECONDS)
        self._store = store
        self._metrics = metrics

    @property
    def are_on(self) -> bool:
        """Whether there is any storage to fetch files from."""
        return not self._places.are_none

    def require(self, *, links: bool) -> None:
        """Raise ProblemError (501) where there is no storage, or no secret for `links`."""
        if not self.are_on:
            raise problems.downloads_disabled()
        if links and not self._link_secrets():
            raise problems.links_disabled()

    async def linked_job(self, job_id: str, request: Request) -> CachedJob:
        """Return the job that a link opens.  Raises ProblemError: 403, alike for any wrong; 429."""
        signed = links.read_link(request.query_params.multi_items())
        if signed is not None:
            trail.about(request, link=signed.link.link_id)
        # From memory alone: without a good link no request reaches the Kubernetes API.
        job = self._store.known_job(job_id) if names.is_uuid(job_id) else None
        linked = _linked(job) if job else _NOBODY
        now_s = timestamps.now().timestamp()
        # Each is tried, so that the time tells nothing.
        checked = signed or links.NO_LINK
        good = [links.is_good(checked, secret, linked, now_s) for secret in self._link_secrets()]
        if job is None or signed is None or not any(good):
            raise problems.link_refused()
        trail.about(request, project=job.project_id, link_maker=signed.link.maker)
        if signed.link.link_id in job.links.taken_back:
            raise problems.link_refused()
        if not await self._store.project_exists(job.project_id):
            raise problems.link_refused()
        limits: RateLimits = request.app.state.rate_limits
        limits.check_link(request, f"{job.job_id} {signed.link.link_id}")
        return job

    def link(self, job: CachedJob, asked: LinkRequest, caller: Caller) -> tuple[Link, LinkView]:
        """Make a link to the job's file; raises ProblemError (400)."""
        lifetime_seconds = asked.seconds(self._link_max_seconds)
        if lifetime_seconds > self._link_max_seconds:
            raise problems.link_too_long(self._link_max_seconds)
        expires = timestamps.now().replace(microsecond=0) + timedelta(seconds=lifetime_seconds)
        secret = self._link_secrets()[0]
        maker = links.maker_of(secret, caller.issuer, caller.subject)
        link = Link(secrets.token_hex(8), maker, int(expires.timestamp()))
        query = links.link_query(secret, _linked(job), link)
        url = f"{self._public_url}/api/jobs/{job.job_id}/download?{query}"
        expires_at = timestamps.to_text(expires)
        return link, LinkView(link_id=link.link_id, url=url, expires_at=expires_at)

    async def fetchable(self, job: CachedJob) -> FinishedFile:
        """Return the file that a job should have left; raises ProblemError (409, 410)."""
        phase, file = job.phase, job.file
        if not phase.is_finished:
            # Another replica may have told the client already that it is completed.
            export = await self._read_anew(job)
            if export is not None and export.metadata.uid == job.uid:
                phase, file = export.phase, FinishedFile.of(export)
        if not phase.is_finished:
            raise problems.job_not_ended()
        if file is None:
            raise problems.job_without_file()
        if file.is_expired(timestamps.now()):
            raise problems.retention_over()
        self._place(file)
        return file

    async def _read_anew(self, job: CachedJob) -> BackupExport | None:
        if job.uid in self._asked:
            return None
        try:
            export = await self._store.find_export(job.name)
        except StoreUnavailableError:
            # What is known of the job is an answer, too.
            export = None
        if export is None or not export.phase.is_finished:
            self._asked.add(job.uid)
        return export

    async def check(self, file: FinishedFile) -> None:
        """Check that the file can be sent; raises ProblemError (410, 503)."""
        (await self._opened(self._place(file), file)).close()

    async def respond(self, request: Request, file: FinishedFile, owner: SlotOwner) -> Response:
        """Answer with the file or parts of it, or where it is.

        Raises ProblemError (410, 412, 416, 429, 501, 503).
        """
        place = self._place(file)
        if isinstance(place, ExportBucket) and place.redirects:
            return await self._redirected(request, file, place)
        opened = await self._opened(place, file)
        try:
            headers = {name: ", ".join(request.headers.getlist(name)) for name in request.headers}
            described = answer.answer(request.method, headers, file, secrets.token_hex(16))
            if request.method == "HEAD" or not described.pieces:
                opened.close()
                return Response(status_code=described.status, headers=described.headers)
            self._take_slot(owner)
        except BaseException:
            opened.close()
            raise
        request_context.mark_as_stream(request.scope)
        self._metrics.downloads_under_way.inc()
        trail.note(
            request, "download_start", "started", size=int(described.headers["Content-Length"])
        )
        sent_bytes = 0

        def on_sent(size: int) -> None:
            nonlocal sent_bytes
            sent_bytes += size
            self._metrics.sent_bytes.inc(size)

        def on_end(outcome: DownloadOutcome) -> None:
            self._end(owner, outcome)
            trail.note(request, "download_end", outcome, size=sent_bytes)

        return DownloadResponse(
            described, opened, self._stall_seconds, on_sent=on_sent, on_end=on_end
        )

    async def _redirected(
        self, request: Request, file: FinishedFile, bucket: ExportBucket
    ) -> Response:
        # Else clients would be told of it by a server that they don't know, or not at all.
        (await self._opened(bucket, file)).close()
        is_head = request.method == "HEAD"
        try:
            url = await bucket.url("HEAD" if is_head else "GET", file)
        except StorageUnavailableError as error:
            raise _unavailable(bucket, error) from None
        if not is_head:
            trail.note(request, "download_start", "redirected")
            self._metrics.count_redirect()
        # Whoever has the URL has the file, for a while.
        return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})

    def _place(self, file: FinishedFile) -> Place:
        place = self._places.of(file)
        if place is None:
            raise problems.file_elsewhere()
        return place

    async def _opened(self, place: Place, file: FinishedFile) -> OpenedFile:
        try:
            return await place.open(file)
        except StorageUnavailableError as error:
            raise _unavailable(place, error) from None

    def _take_slot(self, owner: SlotOwner) -> None:
        taken = self._slots.take(owner)
        if taken == "owner_full":
            raise problems.too_many_of_caller(self._slots.most_each)
        if taken == "full":
            raise problems.too_many_downloads()

    def _end(self, owner: SlotOwner, outcome: DownloadOutcome) -> None:
        self._slots.release(owner)
        self._metrics.count_download_end(outcome)


def _unavailable(place: Place, error: StorageUnavailableError) -> ProblemError:
    return place.unavailable(why=f"{place} does not answer: {error}")


def _linked(job: CachedJob) -> LinkedJob:
    return LinkedJob(job.job_id, job.uid, job.links.generation)


class RecentKeys:
    """Remembers each key for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # The oldest first.
        self._until: dict[str, float] = {}

    def __contains__(self, key: str) -> bool:
        """Return whether `add` was called with it in that time."""
        return self._until.get(key, 0.0) > time.monotonic()

    def add(self, key: str) -> None:
        """Remember `key` from now on."""
        now = time.monotonic()
        while self._until and self._until[oldest := next(iter(self._until))] <= now:
            del self._until[oldest]
        self._until.pop(key, None)
        self._until[key] = now + self._seconds
