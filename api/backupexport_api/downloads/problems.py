"""What may be wrong with a download or a link; call one for a new error to raise."""

from backupexport_contract.readable import readable_duration

from backupexport_api.http.problems import ProblemError, invalid_field, problem

job_not_ended = problem(
    409,
    "job_not_completed",
    "The job has not ended yet. Its file can be fetched once its status is completed.",
)
job_without_file = problem(
    409,
    "job_not_completed",
    "The job has ended without a file to fetch. Its error, if it has one, says why. Request a"
    " new export.",
)
retention_over = problem(
    410,
    "artifact_gone",
    "The file's retention is over: it is removed, or about to be. Request a new export.",
)
downloads_disabled = problem(
    501,
    "downloads_disabled",
    "This installation has downloads turned off: the api can't read the volume. Fetch the file"
    " from the volume, or ask for the chart's value api.downloads.enabled to be true, which"
    " needs a volume that several nodes can mount.",
)
links_disabled = problem(
    501,
    "links_disabled",
    "This installation has no secret for links (BACKUPEXPORT_LINK_SECRET), so it makes none"
    " and takes none. Download with a token instead.",
)
file_elsewhere = problem(
    501,
    "file_elsewhere",
    "The file lies in a storage that the api does not read, or not any more. Fetch it from there,"
    " or ask the platform's administrators for it.",
)
# Also where something else has the file's name.
artifact_gone = problem(
    410,
    "artifact_gone",
    "The file that was exported is no longer in its storage. Request a new export.",
)
# Whatever is wrong with a link: the answer must not tell.
link_refused = problem(
    403,
    "link_refused",
    "This link is not good, or not any more. Ask for a new one, or download with a token.",
)
link_not_found = problem(404, "link_not_found", "No link has such an id.")
precondition_failed = problem(
    412,
    "precondition_failed",
    "The file is not the one that If-Match or If-Unmodified-Since asks for.",
)
# The replica has enough under way, in all or by links.
too_many_downloads = problem(
    503,
    "too_many_downloads",
    "This replica has as many such downloads under way as it carries. Try again in a moment.",
)
volume_unavailable = problem(
    503,
    "volume_unavailable",
    "The volume with the exports does not answer. Try again in a moment.",
)
bucket_unavailable = problem(
    503,
    "bucket_unavailable",
    "The bucket with the exports does not answer as it should. Try again in a moment.",
)


def link_too_long(most_seconds: int) -> ProblemError:
    """Return the 400 for a link that is to be good for longer than the installation allows."""
    most = f"{most_seconds} ({readable_duration(most_seconds)})"
    return invalid_field("lifetime_seconds", "too_large", f"must be at most {most}")


def range_not_satisfiable(size: int) -> ProblemError:
    """Return the 416 for a Range that has no byte of a file of `size` bytes."""
    return ProblemError(
        416,
        "range_not_satisfiable",
        f"The file has {size} bytes, and none of those that Range asks for.",
        headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
    )


def too_many_of_caller(most: int) -> ProblemError:
    """Return the 429 for a caller, or the links to a project's files, with `most` under way."""
    return ProblemError(
        429,
        "too_many_downloads",
        f"{most} such downloads are under way already, which is the most: wait for one to end.",
    )
