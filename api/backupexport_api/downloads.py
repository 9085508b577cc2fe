"""Downloads of one app: which file a request is for, whether it may have it, and sending it."""

import logging
import secrets
from datetime import timedelta
from functools import partial

from backupexport_contract import names, timestamps
from backupexport_contract.resources import BackupExport
from fastapi import Request, Response

from backupexport_api import (
    download_answer,
    download_links,
    download_problems,
    request_context,
)
from backupexport_api.asked_lately import AskedLately
from backupexport_api.byte_ranges import UnsatisfiableError
from backupexport_api.download_answer import DownloadAnswer, PreconditionFailedError
from backupexport_api.download_outcomes import Outcome
from backupexport_api.download_places import DownloadPlaces, Share
from backupexport_api.export_volume import (
    ExportFile,
    ExportVolume,
    FileGoneError,
    VolumeUnavailableError,
)
from backupexport_api.file_streaming import DownloadResponse, Sending
from backupexport_api.finished_file import FinishedFile, why_unfetchable
from backupexport_api.job_store import JobStore, StoreUnavailableError
from backupexport_api.link_request import LinkRequest, LinkView
from backupexport_api.metrics import Metrics
from backupexport_api.rate_limit import RateLimits
from backupexport_api.records import Job
from backupexport_api.settings import Settings

_log = logging.getLogger(__name__)

# What a link's signature is compared with where there is no such job, at the same cost.
_NOBODY = "00000000-0000-0000-0000-000000000000"
# Clients that wait for a file ask as often as they like: that must not reach the Kubernetes API.
_ASK_AGAIN_SECONDS = 1.0


class Downloads:
    """What all downloads share."""

    def __init__(self, settings: Settings, store: JobStore, measured: Metrics) -> None:
        directory = settings.exports_directory
        self._volume = None if directory is None else ExportVolume(directory)
        self._link_secret = settings.link_secret.get_secret_value()
        self._link_max_seconds = settings.link_max_seconds
        self._public_url = settings.public_url
        self._stall_seconds = settings.download_stall_seconds
        self._places = DownloadPlaces(settings.most_downloads, settings.most_downloads_each)
        self._asked = AskedLately(_ASK_AGAIN_SECONDS)
        self._store = store
        self._measured = measured

    def require(self, *, links: bool) -> ExportVolume:
        """The volume; ProblemError (501) where there is none, or no secret for `links`."""
        if self._volume is None:
            raise download_problems.downloads_disabled()
        if links and not self._link_secret:
            raise download_problems.links_disabled()
        return self._volume

    async def linked_job(self, job_id: str, request: Request) -> Job:
        """The job that a request's link opens.

        ProblemError: 403, the same for everything that can be wrong; 429.
        """
        link = download_links.read_link(request.query_params.multi_items())
        # From memory alone: nobody without a good link makes us ask the Kubernetes API.
        job = self._store.known_job(job_id) if names.is_uuid(job_id) else None
        is_good = download_links.is_good(
            link or download_links.NO_LINK,
            self._link_secret,
            job.job_id if job else _NOBODY,
            job.uid if job else _NOBODY,
            timestamps.now().timestamp(),
        )
        if job is None or link is None or not is_good:
            raise download_problems.link_refused()
        if not await self._store.project_exists(job.project_id):
            raise download_problems.link_refused()
        limits: RateLimits = request.app.state.rate_limits
        limits.check_link(request, f"{job.job_id} {link.expires_s}")
        return job

    def link(self, job: Job, asked: LinkRequest) -> LinkView:
        """Make a link to the job's file; ProblemError (400)."""
        lifetime_seconds = asked.seconds(self._link_max_seconds)
        if lifetime_seconds > self._link_max_seconds:
            raise download_problems.link_too_long(self._link_max_seconds)
        expires = timestamps.now().replace(microsecond=0) + timedelta(seconds=lifetime_seconds)
        query = download_links.link_query(
            self._link_secret, job.job_id, job.uid, int(expires.timestamp())
        )
        return LinkView(
            url=f"{self._public_url}/api/jobs/{job.job_id}/download?{query}",
            expires_at=timestamps.to_text(expires),
        )

    async def fetchable(self, job: Job) -> FinishedFile:
        """The file of a job that should have one; ProblemError (409, 410)."""
        phase, file = job.phase, job.file
        if not phase.is_finished:
            # Another replica may have told the client already that it is completed.
            export = await self._asked_anew(job)
            if export is not None and export.metadata.uid == job.uid:
                phase, file = export.phase, FinishedFile.of(export)
        why = why_unfetchable(phase, file, timestamps.now())
        if file is None or why is not None:
            raise download_problems.unfetchable(why or "no_file")
        return file

    async def _asked_anew(self, job: Job) -> BackupExport | None:
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
        """See that the file can be sent; ProblemError (410, 503)."""
        (await self._opened(file)).close()

    async def respond(self, request: Request, file: FinishedFile, share: Share) -> Response:
        """Send the file, or what of it is asked for; ProblemError (410, 412, 416, 429, 503)."""
        opened = await self._opened(file)
        try:
            answer = _answer(request, file)
            if request.method == "HEAD" or not answer.pieces:
                opened.close()
                return Response(status_code=answer.status, headers=answer.headers)
            self._take_place(share)
        except BaseException:
            opened.close()
            raise
        request_context.mark_as_stream(request.scope)
        self._measured.count_download_start()
        sending = Sending(self._measured.count_sent, partial(self._ended, share))
        return DownloadResponse(answer, opened, sending, self._stall_seconds)

    async def _opened(self, file: FinishedFile) -> ExportFile:
        try:
            return await self.require(links=False).open(file)
        except FileGoneError:
            raise download_problems.artifact_gone() from None
        except VolumeUnavailableError as error:
            _log.warning("answering 503: the volume does not answer: %s", error)
            raise download_problems.volume_unavailable() from None

    def _take_place(self, share: Share) -> None:
        taken = self._places.take(share)
        if taken == "caller_full":
            raise download_problems.too_many_of_caller(self._places.most_each)
        if taken == "full":
            raise download_problems.too_many_downloads()

    def _ended(self, share: Share, outcome: Outcome) -> None:
        self._places.release(share)
        self._measured.count_download_end(outcome)


def _answer(request: Request, file: FinishedFile) -> DownloadAnswer:
    headers = {name: ", ".join(request.headers.getlist(name)) for name in request.headers}
    try:
        return download_answer.answer(request.method, headers, file, secrets.token_hex(16))
    except PreconditionFailedError:
        raise download_problems.precondition_failed() from None
    except UnsatisfiableError:
        raise download_problems.range_not_satisfiable(file) from None
