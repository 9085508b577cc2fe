"""A job's changes as they happen: by the event stream, else by asking again and again."""

from collections.abc import Callable, Iterator

from backupexport_cli.service.http import ApiHttp
from backupexport_cli.service.interface import FINISHED, Job


def job_states(http: ApiHttp, ask: Callable[[], Job]) -> Iterator[Job]:
    """Yield the job now and whenever it changes, until it has finished; cuts are bridged."""
    while True:
        job = ask()
        yield job
        if job["status"] in FINISHED:
            return
        http.pause(2)
