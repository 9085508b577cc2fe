"""A job's changes as they happen: by the event stream, else by asking again and again."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service import answers, problems
from backupexport_cli.service.http import ApiHttp
from backupexport_cli.service.interface import FINISHED, Job

# How long the server may be away before a command gives up.
_PATIENCE_SECONDS = 600.0
_AWAY_SECONDS = 5.0
_POLL_SECONDS = 2.0
# How often the job is asked for before the stream gets another chance.
_POLLS = 15
# The server shows every 15 s that it lives.
_SILENCE = httpx.Timeout(60, connect=10)
_MOST_EVENT_BYTES = 4 * 1024 * 1024
_RETRY_SECONDS = (1.0, 10.0)
_GONE = "gone"
_EVENT_ID = re.compile("[!-~]{1,200}")


def job_states(http: ApiHttp, job_id: str, ask: Callable[[], Job]) -> Iterator[Job]:
    """Yield the job now and whenever it changes, until it has finished; cuts are bridged."""
    job = ask()
    yield job
    watching = _Watching(http, job_id, ask)
    lost_at: float | None = None
    while job["status"] not in FINISHED:
        try:
            for newest in watching.next_states():
                lost_at = None
                if newest != job:
                    job = newest
                    yield job
                if job["status"] in FINISHED:
                    return
        except CliError as error:
            if error.exit_code is not ExitCode.UNREACHABLE:
                raise
            if lost_at is None:
                lost_at = http.now()
                http.say("The server is away. The job goes on, and the command waits for it.")
            elif http.now() - lost_at > _PATIENCE_SECONDS:
                raise CliError(
                    error.exit_code,
                    f"{error.message.rstrip('.')}, for ten minutes now.",
                    f"The job goes on. Follow it later: backupexport watch {job_id}",
                ) from None
            http.pause(_AWAY_SECONDS)


class _Watching:
    """What is known of one job's stream from one connection to the next."""

    def __init__(self, http: ApiHttp, job_id: str, ask: Callable[[], Job]) -> None:
        self._http = http
        self._job_id = job_id
        self._ask = ask
        self._last_event_id: str | None = None
        self._retry_seconds = _RETRY_SECONDS[0]
        self._polls_left = 0

    def next_states(self) -> Iterator[Job]:
        """Yield states of one connection, or of one question; at least one."""
        if self._polls_left == 0:
            try:
                yield from self._streamed()
            except CliError as error:
                if error.exit_code is ExitCode.NOT_ALLOWED or error.code == _GONE:
                    raise
                # Too many streams, a proxy that knows none, an answer that is none.
                self._polls_left = _POLLS
            else:
                self._http.pause(self._retry_seconds)
        else:
            self._polls_left -= 1
            self._http.pause(_POLL_SECONDS)
        # Also after a stream: one that ends without an event would tell nothing for ever.
        yield self._ask()

    def _streamed(self) -> Iterator[Job]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_event_id is not None:
            headers["Last-Event-ID"] = self._last_event_id
        path = f"/api/jobs/{quote(self._job_id, safe='')}/events"
        with self._http.open(
            "GET", path, headers=headers, timeout=_SILENCE, is_patient=False
        ) as response:
            try:
                for event in self._events(response):
                    if event.event == _GONE:
                        raise _gone(self._job_id)
                    if event.data:
                        yield self._job(event.data)
                        self._last_event_id = event.id if _EVENT_ID.fullmatch(event.id) else None
            except httpx.TransportError:
                # Cut off: the next connection goes on from the last event.
                return

    def _events(self, response: httpx.Response) -> Iterator[ServerSentEvent]:
        if response.status_code == 204:
            return
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise problems.nonsense(self._http.origin, "its events are compressed")
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _BoundedEvents(response.stream)
        try:
            for event in EventSource(response).iter_sse():
                if event.retry is not None:
                    least, most = _RETRY_SECONDS
                    self._retry_seconds = min(max(event.retry / 1000, least), most)
                yield event
        except SSEError:
            raise problems.nonsense(self._http.origin, "its events are none") from None

    def _job(self, data: str) -> Job:
        try:
            value = problems.parsed(data.encode())
        except ValueError:
            raise problems.nonsense(self._http.origin, "an event is no JSON") from None
        return answers.job(value, self._http.origin)


class _BoundedEvents(httpx.SyncByteStream):
    """A stream in which no event is longer than one can be."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        since_an_event = 0
        for piece in self._stream:
            end = max(piece.rfind(blank) for blank in (b"\n\n", b"\r\r", b"\n\r\n"))
            since_an_event = since_an_event + len(piece) if end < 0 else len(piece) - end
            if since_an_event > _MOST_EVENT_BYTES:
                raise httpx.ReadError("an event does not end")
            yield piece

    def close(self) -> None:
        self._stream.close()


def _gone(job_id: str) -> CliError:
    return CliError(
        ExitCode.NOT_FOUND,
        f"Job {job_id} was deleted.",
        "List the jobs that your token may see: backupexport jobs",
        code=_GONE,
    )
