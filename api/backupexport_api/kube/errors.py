"""What the errors of both Kubernetes clients, the asynchronous and the blocking one, mean."""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

import aiohttp
from kubernetes import client, config
from kubernetes.aio import config as aio_config
from kubernetes.aio.client.exceptions import ApiException as AioApiException
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from backupexport_api.http.problems import ProblemError

UNREACHABLE = "The Kubernetes API does not answer. Try again in a moment."
_REFUSED = "The Kubernetes API refuses requests for now. Try again in a moment."
_QUOTA_DETAIL = (
    "The namespace's quota for BackupExports is used up. Try again when older exports are gone, "
    "or ask for a larger quota."
)
# Helm doesn't upgrade CRDs (https://helm.sh/docs/chart_best_practices/custom_resource_definitions/).
_OLD_CRDS_DETAIL = (
    "The cluster's BackupExport is older than this API. Whoever runs the cluster has to apply the "
    "CustomResourceDefinitions that come with the chart."
)

ApiError: TypeAlias = client.ApiException | AioApiException
API_ERRORS = (client.ApiException, AioApiException)
CONFIGURATION_ERRORS = (config.ConfigException, aio_config.ConfigException)

# All that a call can raise.
CALL_ERRORS = (*API_ERRORS, *CONFIGURATION_ERRORS, aiohttp.ClientError, HTTPError, OSError)
_NOT_CONNECTED = (NewConnectionError, ConnectTimeoutError, aiohttp.ClientConnectorError)
_NEVER_SENT = (*_NOT_CONNECTED, *CONFIGURATION_ERRORS)


class StoreUnavailableError(ProblemError):
    """The store did not answer, or refused: `detail` is for the client, `why` is for the log."""

    def __init__(self, detail: str, why: str) -> None:
        super().__init__(503, "kubernetes_unavailable", detail, why=why)


class StoreRefusedError(Exception):
    """The store found an object of ours invalid, which is a bug of ours unless its caller knows.

    `causes` are the Kubernetes API's own words, which may hold the rejected value.
    """

    def __init__(self, why: str, causes: Iterable[str] = ()) -> None:
        super().__init__(why)
        self._causes = tuple(causes)

    def is_by_rule(self, message: str) -> bool:
        """Return whether a rule of the CRD with this message was broken."""
        return any(message in cause for cause in self._causes)


def translated(error: Exception, when_late: str = UNREACHABLE) -> Exception:
    """Return what one of CALL_ERRORS means; `when_late`: the request was sent, no answer came."""
    if not isinstance(error, API_ERRORS):
        detail = UNREACHABLE if isinstance(_cause_of(error), _NEVER_SENT) else when_late
        return StoreUnavailableError(detail, summary(error))
    status = _status_of(error)
    if error.status == 403 and "exceeded quota" in str(status.get("message")):
        return StoreUnavailableError(_QUOTA_DETAIL, summary(error))
    if error.status == 400 and "unknown field" in str(status.get("message")):
        return StoreUnavailableError(_OLD_CRDS_DETAIL, summary(error))
    if error.status in (400, 422) and "denied" not in str(status.get("message")):
        # Not the message, which may hold the rejected value.
        causes = _details_of(error).get("causes") or []
        fields = ", ".join(f"{cause.get('field')}: {cause.get('reason')}" for cause in causes)
        said = [str(cause.get("message")) for cause in causes]
        return StoreRefusedError(f"Kubernetes API: {error.status} {fields or error.reason}", said)
    # etcd's timeout is a 500, and what was asked may be done all the same.
    detail = {0: UNREACHABLE, 500: when_late, 504: when_late}.get(error.status, _REFUSED)
    return StoreUnavailableError(detail, summary(error))


def summary(error: object) -> str:
    """Return the error in one line, for the log."""
    if isinstance(error, API_ERRORS):
        message = _status_of(error).get("message") or error.reason
        return " ".join(f"Kubernetes API: {error.status} {message}".split())
    cause = _cause_of(error)
    return " ".join(f"Kubernetes API: {type(cause).__name__}: {cause}".split())


def is_missing(error: ApiError, name: str) -> bool:
    """Return whether it is this object that is missing: without the CRD every path answers 404."""
    return error.status == 404 and bool(_details_of(error).get("name") == name)


def is_another(error: ApiError) -> bool:
    """Return whether the object of this name has another uid than the patch."""
    causes = _details_of(error).get("causes") or []
    return error.status == 422 and any(cause.get("field") == "metadata.uid" for cause in causes)


def is_taken(error: ApiError) -> bool:
    """Return whether there is an object of this name already."""
    return bool(_status_of(error).get("reason") == "AlreadyExists")


def _cause_of(error: object) -> object:
    # The error that urllib3 gave up at, without the URL and the retries around it.
    wrapped = isinstance(error, MaxRetryError) and error.reason
    return wrapped or error


def _details_of(error: ApiError) -> dict[str, Any]:
    return _status_of(error).get("details") or {}


def _status_of(error: ApiError) -> dict[str, Any]:
    """Return the Status object (Kubernetes' meta/v1) of an answer, or an empty one."""
    try:
        status = json.loads(error.body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
