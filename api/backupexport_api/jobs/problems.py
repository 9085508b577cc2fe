"""What may be wrong with a request for an export."""

from backupexport_api.http.problems import ProblemError


def project_forbidden() -> ProblemError:
    """403: the token is not good for the project."""
    return ProblemError(403, "project_forbidden", "The token is not good for this project.")


def project_not_found() -> ProblemError:
    """404: no ExportTarget serves the project."""
    return ProblemError(
        404,
        "project_not_found",
        "No such project: an ExportTarget with this projectId must exist.",
    )


def job_not_found() -> ProblemError:
    """404: no such job, or none that the token may see."""
    return ProblemError(404, "job_not_found", "No such job.")


def job_finished() -> ProblemError:
    """409: too late to cancel."""
    return ProblemError(
        409, "job_finished", "The job has ended already, so there is nothing left to cancel."
    )


def idempotency_key_reused() -> ProblemError:
    """409: the key stands for another request."""
    return ProblemError(
        409,
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request: take a new key for each new request.",
    )
