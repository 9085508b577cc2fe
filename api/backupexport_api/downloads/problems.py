"""The errors of downloads and links."""

from backupexport_api.downloads.answer import unsatisfiable_headers
from backupexport_api.http.problems import (
    RETRY_AFTER_SECONDS,
    FieldError,
    ProblemError,
    invalid_request,
)
from backupexport_api.jobs.finished_file import FinishedFile, Unfetchable

_RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}

_UNFETCHABLE: dict[Unfetchable, tuple[int, str, str]] = {
    "not_finished": (
        409,
        "job_not_completed",
        "The job has not ended yet. Its file can be fetched once its status is completed.",
    ),
    "no_file": (
        409,
        "job_not_completed",
        "The job has ended without a file to fetch. Its error, if it has one, says why. Request a"
        " new export.",
    ),
    "expired": (
        410,
        "artifact_gone",
        "The file's retention is over: it is removed, or about to be. Request a new export.",
    ),
}


def downloads_disabled() -> ProblemError:
    """501: the installation mounts no volume here."""
    return ProblemError(
        501,
        "downloads_disabled",
        "This installation has downloads turned off: the api can't read the volume. Fetch the file"
        " from the volume, or ask for the chart's value api.downloads.enabled to be true, which"
        " needs a volume that several nodes can mount.",
    )


def links_disabled() -> ProblemError:
    """501: there is no secret to sign links with."""
    return ProblemError(
        501,
        "links_disabled",
        "This installation has no secret for links (BACKUPEXPORT_LINK_SECRET), so it makes none"
        " and takes none. Download with a token instead.",
    )


def unfetchable(why: Unfetchable) -> ProblemError:
    """409 or 410: the job has no file to fetch."""
    return ProblemError(*_UNFETCHABLE[why])


def artifact_gone() -> ProblemError:
    """410: the file has been taken away, or something else has its name."""
    return ProblemError(
        410,
        "artifact_gone",
        "The file that was exported is no longer on the volume. Request a new export.",
    )


def link_refused() -> ProblemError:
    """403, whatever is wrong with a link: the answer must not tell."""
    return ProblemError(
        403,
        "link_refused",
        "This link is not good, or not any more. Ask for a new one, or download with a token.",
    )


def link_too_long(most_seconds: int) -> ProblemError:
    """400: the installation allows less."""
    message = f"must be at most {most_seconds}"
    return invalid_request(
        [FieldError(field="lifetime_seconds", message=message, code="too_large")]
    )


def precondition_failed() -> ProblemError:
    """412: what the client has is of another file."""
    return ProblemError(
        412,
        "precondition_failed",
        "The file is not the one that If-Match or If-Unmodified-Since asks for.",
    )


def range_not_satisfiable(file: FinishedFile) -> ProblemError:
    """416: the file has none of these bytes."""
    return ProblemError(
        416,
        "range_not_satisfiable",
        f"The file has {file.size} bytes, and none of those that Range asks for.",
        headers=unsatisfiable_headers(file),
    )


def too_many_of_caller(most: int) -> ProblemError:
    """429: the caller, or all who have links to the project's files, have enough under way."""
    return ProblemError(
        429,
        "too_many_downloads",
        f"{most} such downloads are under way already, which is the most: wait for one to end.",
        headers=_RETRY,
    )


def too_many_downloads() -> ProblemError:
    """503: the replica has enough under way, in all or by links."""
    return ProblemError(
        503,
        "too_many_downloads",
        "This replica has as many such downloads under way as it carries. Try again in a moment.",
        headers=_RETRY,
    )


def volume_unavailable() -> ProblemError:
    """503: the volume does not answer."""
    return ProblemError(
        503,
        "volume_unavailable",
        "The volume with the exports does not answer. Try again in a moment.",
        headers=_RETRY,
    )
