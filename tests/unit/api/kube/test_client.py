"""Single calls to the Kubernetes API: which refusals are answers."""

import json
from typing import Any

import pytest
from backupexport_api.kube.client import KubernetesObjects
from kubernetes.aio.client.exceptions import ApiException


class CustomObjects:
    def __init__(self, error: ApiException) -> None:
        self.error = error

    async def get_namespaced_custom_object(self, **_: Any) -> Any:
        raise self.error

    create_namespaced_custom_object = get_namespaced_custom_object
    patch_namespaced_custom_object = get_namespaced_custom_object


def api_error(status: int, **body: Any) -> ApiException:
    return ApiException(status=status, reason="Reason", body=json.dumps(body))


@pytest.fixture
def refused_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    def objects(error: ApiException) -> KubernetesObjects:
        monkeypatch.setattr(
            "kubernetes.aio.client.CustomObjectsApi", lambda _: CustomObjects(error)
        )
        return KubernetesObjects(None, "exports")

    return objects


async def test_a_missing_object_is_none(refused_with: Any) -> None:
    objects = refused_with(api_error(404, details={"name": "x"}))
    assert await objects.get("backupexports", "x") is None
    assert await objects.patch("backupexports", "x", {}) is None


async def test_another_object_of_the_name_is_none(refused_with: Any) -> None:
    immutable = {"causes": [{"field": "metadata.uid", "reason": "FieldValueInvalid"}]}
    objects = refused_with(api_error(422, reason="Invalid", details=immutable))
    assert await objects.patch("backupexports", "x", {}) is None


async def test_a_name_that_is_taken_is_none(refused_with: Any) -> None:
    taken = refused_with(api_error(409, reason="AlreadyExists"))
    assert await taken.create("backupexports", {}) is None
    conflict = refused_with(api_error(409, reason="Conflict"))
    with pytest.raises(ApiException):
        await conflict.create("backupexports", {})


@pytest.mark.parametrize(
    "error", [ApiException(status=404, body="404 page not found"), api_error(403)]
)
async def test_a_missing_kind_is_an_error(refused_with: Any, error: ApiException) -> None:
    objects = refused_with(error)
    with pytest.raises(ApiException):
        await objects.get("backupexports", "x")
    with pytest.raises(ApiException):
        await objects.patch("backupexports", "x", {})
    with pytest.raises(ApiException):
        await objects.create("backupexports", {})
