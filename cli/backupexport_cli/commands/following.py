"""Following a job until it has ended: a bar on a terminal, a line a change elsewhere."""

from collections.abc import Callable

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output import job_text
from backupexport_cli.output.bar import Bar
from backupexport_cli.service.interface import Exports, Job
from backupexport_cli.session import Session


def follow(
    session: Session,
    exports: Exports,
    job_id: str,
    *,
    tell: Callable[[str], None],
    on_stop: str = "",
) -> Job:
    """Return the job once it is completed; raises CliError where it ends in another way.

    `tell` gets a line for each change where there is no bar.  `on_stop` is what the user who stops
    this is told to type once it is completed.
    """
    try:
        job = _followed(session, exports, job_id, tell)
    except KeyboardInterrupt:
        again = session.command("watch", job_id)
        session.output.say(f"The export goes on. Follow it again: {again}", always=True)
        if on_stop:
            session.output.say(f"Fetch its file when it is completed: {on_stop}", always=True)
        raise
    for text in job_text.remarks(job):
        session.output.warn(text)
    if job["status"] != "completed":
        raise CliError(ExitCode.FAILED, *job_text.failure_of(job))
    for text in job_text.end_text(job):
        session.output.say(text)
    return job


def _followed(session: Session, exports: Exports, job_id: str, tell: Callable[[str], None]) -> Job:
    output = session.output
    job: Job | None = None
    told = ""
    with output.bar(job_id[:8]) as bar:
        for job in exports.states(job_id):
            if output.is_json:
                output.event(job)
            elif not output.is_terminal and told != (told := job_text.state_text(job)):
                tell(told)
            _show(bar, job)
    if job is None:
        raise CliError(
            ExitCode.UNREACHABLE,
            f"Nothing is told of job {job_id}.",
            f"Ask again: {session.command('job', job_id)}",
        )
    return job


def _show(bar: Bar, job: Job) -> None:
    progress, artifact = job["progress"], job["artifact"]
    why = job["error"]["reason"] if job["error"] else ""
    note = f"{job['status']}: {why}" if why else str(job["status"])
    if artifact:
        bar.update(artifact["size_bytes"], percent=100, note=note)
    elif progress:
        bar.update(
            progress["dumped_bytes"],
            progress["estimated_bytes"],
            percent=progress["percent"],
            seconds_left=progress.get("seconds_left"),
            note=note,
        )
    else:
        bar.update(0, percent=0, note=note)
