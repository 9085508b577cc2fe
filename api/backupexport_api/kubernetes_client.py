"""Talking to the Kubernetes API: where it is, how long to wait, and what its errors mean."""

import json
import os
from typing import Any

import urllib3
from backupexport_contract import names
from kubernetes import client, config

from backupexport_api.job_store import StoreRefusedError, StoreUnavailableError

# Connecting and each wait for data, in seconds.
REQUEST_TIMEOUT = (1.5, 3.0)

# A kept-alive connection may have been closed at the other end: that is worth one more try,
# but only for what can be repeated.
_RETRIES = urllib3.Retry(1, connect=0, status=0, redirect=0, other=0, allowed_methods={"GET"})
_MOST_CONNECTIONS = 32

UNREACHABLE = "The Kubernetes API does not answer. Try again in a moment."
_REFUSED = "The Kubernetes API refuses requests for now. Try again in a moment."
_QUOTA_DETAIL = (
    "The namespace's quota for BackupExports is used up. Try again when older exports are gone, "
    "or ask for a larger quota."
)

# Whatever can come out of a call that did not end with an answer.
CALL_ERRORS = (
    client.ApiException,
    urllib3.exceptions.HTTPError,
    config.ConfigException,
    OSError,
)


class KubernetesApi:
    """The few calls that the api makes, in one namespace.  Each blocks."""

    def __init__(self, custom_objects: client.CustomObjectsApi, namespace: str) -> None:
        self._custom_objects = custom_objects
        self._scope = {
            "group": names.GROUP,
            "version": names.VERSION,
            "namespace": namespace,
        }

    @classmethod
    def connect(cls, namespace: str) -> "KubernetesApi":
        """Find the cluster: the pod's own, else kubeconfig's; ConfigException where there is none.

        Nothing is sent yet.
        """
        configuration = client.Configuration()
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(client_configuration=configuration)
        configuration.retries = _RETRIES
        configuration.keep_alive = True
        configuration.connection_pool_maxsize = _MOST_CONNECTIONS
        return cls(client.CustomObjectsApi(client.ApiClient(configuration)), namespace)

    def list_objects(self, plural: str, **options: Any) -> Any:
        """List or, with watch=True, watch; options as the client library has them."""
        options.setdefault("_request_timeout", REQUEST_TIMEOUT)
        return self._custom_objects.list_namespaced_custom_object(
            plural=plural, **self._scope, **options
        )

    def get_object(self, plural: str, name: str) -> dict[str, Any] | None:
        """Read one object; None where there is none."""
        try:
            found: dict[str, Any] = self._custom_objects.get_namespaced_custom_object(
                plural=plural, name=name, **self._scope, _request_timeout=REQUEST_TIMEOUT
            )
        except client.ApiException as error:
            if _is_missing(error, name):
                return None
            raise
        return found

    def create_object(self, plural: str, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """Store an object and return it as stored; None where its name is taken."""
        try:
            created: dict[str, Any] = self._custom_objects.create_namespaced_custom_object(
                plural=plural,
                body=manifest,
                field_validation="Strict",
                **self._scope,
                _request_timeout=REQUEST_TIMEOUT,
            )
        except client.ApiException as error:
            if _status_of(error).get("reason") == "AlreadyExists":
                return None
            raise
        return created

    def patch_object(self, plural: str, name: str, patch: dict[str, Any]) -> dict[str, Any] | None:
        """Merge `patch` into an object (RFC 7386) and return it whole; None where there is none."""
        try:
            patched: dict[str, Any] = self._custom_objects.patch_namespaced_custom_object(
                plural=plural,
                name=name,
                body=patch,
                field_validation="Strict",
                **self._scope,
                _content_type="application/merge-patch+json",
                _request_timeout=REQUEST_TIMEOUT,
            )
        except client.ApiException as error:
            if _is_missing(error, name):
                return None
            raise
        return patched


def translated(error: Exception, when_late: str = UNREACHABLE) -> Exception:
    """What one of CALL_ERRORS means to the store's users.

    `when_late` is the detail where the request was sent and no answer to it came.
    """
    if not isinstance(error, client.ApiException):
        return StoreUnavailableError(
            UNREACHABLE if _was_never_sent(error) else when_late, summary(error)
        )
    status = _status_of(error)
    if error.status == 403 and "exceeded quota" in str(status.get("message")):
        return StoreUnavailableError(_QUOTA_DETAIL, summary(error))
    if error.status in (400, 422):
        return StoreRefusedError(summary(error))
    detail = {0: UNREACHABLE, 504: when_late}.get(error.status, _REFUSED)
    return StoreUnavailableError(detail, summary(error))


def summary(error: object) -> str:
    """One line for the log."""
    if isinstance(error, client.ApiException):
        message = _status_of(error).get("message") or error.reason
        return " ".join(f"Kubernetes API: {error.status} {message}".split())
    cause = _cause_of(error)
    return " ".join(f"Kubernetes API: {type(cause).__name__}: {cause}".split())


def _is_missing(error: client.ApiException, name: str) -> bool:
    """Whether it is the object that there is none of: without the CRD every path answers 404."""
    details = _status_of(error).get("details") or {}
    return error.status == 404 and bool(details.get("name") == name)


def _was_never_sent(error: Exception) -> bool:
    return isinstance(
        _cause_of(error),
        (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            config.ConfigException,
        ),
    )


def _cause_of(error: object) -> object:
    """What urllib3 gave up over, without the URL and the count of retries around it."""
    wrapped = isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason
    return wrapped or error


def _status_of(error: client.ApiException) -> dict[str, Any]:
    """The Status object of an answer, or an empty one."""
    try:
        status = json.loads(error.body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
