"""What may be wrong with a request for an export or a job; call one for a new error to raise."""

from functools import partial

from backupexport_api.http.problems import invalid_field, problem

project_forbidden = problem(
    403,
    "project_forbidden",
    "The token is not good for this project: get one whose claim of projects names it.",
)
project_not_found = problem(
    404,
    "project_not_found",
    "No such project: an ExportTarget with this projectId must exist.",
)
recipient_required = partial(
    invalid_field,
    "encrypt_to",
    "recipient_required",
    "must name a recipient: this project's exports are encrypted, and its ExportTarget names none",
)
# The same for a job that the token may not see.
job_not_found = problem(404, "job_not_found", "No such job.")
job_finished = problem(
    409,
    "job_finished",
    "The job has ended already, so there is nothing left to cancel.",
)
idempotency_key_reused = problem(
    409,
    "idempotency_key_reused",
    "This Idempotency-Key was used for another request: take a new key for each new request.",
)
