"""What the Kubernetes API's errors mean to a client."""

import json
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
import urllib3
from backupexport_api.kube.errors import (
    UNREACHABLE,
    StoreRefusedError,
    StoreUnavailableError,
    summary,
    translated,
)
from kubernetes import client, config
from kubernetes.aio.client.exceptions import ApiException as AioApiException


def api_error(status: int, **body: Any) -> client.ApiException:
    return client.ApiException(status=status, reason="Reason", body=json.dumps(body))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (api_error(400), StoreRefusedError),
        (api_error(422, reason="Invalid"), StoreRefusedError),
        (api_error(409, reason="Conflict"), StoreUnavailableError),
        (api_error(401), StoreUnavailableError),
        (api_error(403), StoreUnavailableError),
        (client.ApiException(status=404, body="404 page not found"), StoreUnavailableError),
        (api_error(429), StoreUnavailableError),
        (api_error(500), StoreUnavailableError),
        (api_error(503), StoreUnavailableError),
        (client.ApiException(status=0, reason="SSLError"), StoreUnavailableError),
        (urllib3.exceptions.ProtocolError("closed"), StoreUnavailableError),
        (config.ConfigException("Token file exists but empty."), StoreUnavailableError),
        (OSError("no token"), StoreUnavailableError),
        (AioApiException(status=422, body="{}"), StoreRefusedError),
        (AioApiException(status=500), StoreUnavailableError),
        (aiohttp.ServerDisconnectedError(), StoreUnavailableError),
    ],
)
def test_kinds(error: Exception, kind: type[Exception]) -> None:
    assert type(translated(error)) is kind


def test_a_quota_is_told() -> None:
    message = 'backupexports "x" is forbidden: exceeded quota: q, requested: 1'
    told = translated(api_error(403, message=message))
    assert isinstance(told, StoreUnavailableError)
    assert "quota" in told.detail


def test_older_crds_are_told() -> None:
    message = 'BackupExport in version "v1alpha1": strict decoding error: unknown field "spec.new"'
    told = translated(api_error(400, message=message))
    assert isinstance(told, StoreUnavailableError)
    assert "CustomResourceDefinitions" in told.detail


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (urllib3.exceptions.ReadTimeoutError(None, "/", "late"), "unknown"),  # type: ignore[arg-type]
        (urllib3.exceptions.ProtocolError("closed"), "unknown"),
        (api_error(504), "unknown"),
        (aiohttp.ServerDisconnectedError(), "unknown"),
        (aiohttp.ClientConnectorError(Mock(), OSError("refused")), UNREACHABLE),
        (
            urllib3.exceptions.MaxRetryError(
                None,  # type: ignore[arg-type]
                "/",
                urllib3.exceptions.NewConnectionError(None, "refused"),  # type: ignore[arg-type]
            ),
            UNREACHABLE,
        ),
    ],
)
def test_only_what_was_sent_has_an_unknown_outcome(error: Exception, detail: str) -> None:
    told = translated(error, "unknown")
    assert isinstance(told, StoreUnavailableError)
    assert told.detail == detail


def test_a_summary_is_one_line() -> None:
    error = client.ApiException(status=500, reason="Broken")
    error.headers = {"X": "y"}
    assert summary(error) == "Kubernetes API: 500 Broken"
    assert summary(OSError("a\nb")) == "Kubernetes API: OSError: a b"


def test_an_admission_policy_s_refusal_is_no_bug_of_ours() -> None:
    message = "ValidatingAdmissionPolicy 'freeze' with binding 'all' denied request: not today"
    error = api_error(422, reason="Invalid", message=message)
    assert isinstance(translated(error), StoreUnavailableError)


def test_a_refused_value_is_not_logged() -> None:
    cause = {"field": "spec.notifyEmail", "reason": "FieldValueInvalid", "message": "hunter2"}
    error = api_error(422, reason="Invalid", message="hunter2", details={"causes": [cause]})
    told = translated(error)
    assert isinstance(told, StoreRefusedError)
    assert str(told) == "Kubernetes API: 422 spec.notifyEmail: FieldValueInvalid"
