"""Secrets of the release's own: files that follow them, and none that nobody could keep."""

from typing import Any

import pytest
from rendered_chart import (
    CHART,
    LONG_SECRET,
    PUBLIC_KEY,
    data_of,
    environment,
    of_kind,
    render,
    run_helm,
    secret_file,
)

DOWNLOADS = {"downloads": {"enabled": True}}
OTHER = LONG_SECRET[::-1]
GIVEN: dict[str, Any] = {
    "auth": {"jwt": {"existingSecret": "mine"}},
    "api": DOWNLOADS | {"links": {"secret": LONG_SECRET}},
    "valkey": {"existingSecret": "mine"},
}


def without_cluster(values: dict[str, Any]) -> Any:
    return run_helm(values, "template", "r", str(CHART), "--namespace", "n")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("auth", ("auth.jwt.existingSecret", "the key jwt-secret", "auth.jwt.secret")),
        ("api", ("api.links.existingSecret", "the key link-secret", "api.links.secret")),
        ("valkey", ("valkey.existingSecret", "the key url and users.acl", "valkey.password")),
    ],
)
def test_without_a_cluster_a_missing_secret_is_no_random_one(
    missing: str, words: tuple[str, ...]
) -> None:
    assert without_cluster(GIVEN).returncode == 0
    left_out = {"api": DOWNLOADS} if missing == "api" else {missing: {}}
    done = without_cluster(GIVEN | left_out)
    assert done.returncode != 0
    for word in ("Helm sees no cluster", *words):
        assert word in done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"api": {"replicas": 1}, "auth": {"jwt": {"secret": LONG_SECRET}}},
        {
            "auth": {
                "jwt": {"algorithms": ["RS256"], "publicKey": PUBLIC_KEY, "audience": "exports"}
            },
            "valkey": {"password": LONG_SECRET},
        },
    ],
)
def test_without_a_cluster_only_secrets_that_are_used_are_missing(values: dict[str, Any]) -> None:
    first, second = without_cluster(values), without_cluster(values)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout


def test_no_secret_of_our_own_is_an_environment_value() -> None:
    manifests = render({"api": DOWNLOADS})
    values = environment(manifests, "api").values()
    assert not [value for value in values if isinstance(value, dict) and "secretKeyRef" in value]


@pytest.mark.parametrize(
    ("setting", "key", "more"),
    [
        ("JWT_SECRET_PREVIOUS_FILE", "jwt-secret-previous", {"optional": True}),
        ("LINK_SECRET_FILE", "link-secret", {}),
        ("LINK_SECRET_PREVIOUS_FILE", "link-secret-previous", {"optional": True}),
        ("RATE_LIMIT_STORAGE_URL_FILE", "url", {}),
    ],
)
def test_secrets_are_files_and_what_was_before_may_be_missing(
    setting: str, key: str, more: dict[str, Any]
) -> None:
    found = secret_file(render({"api": DOWNLOADS}), setting)
    assert found.pop("name").startswith("r-backupexport-")
    assert found == {"key": key, **more}


def test_the_previous_secrets_are_beside_the_new_ones() -> None:
    jwt = {"secret": LONG_SECRET, "previousSecret": OTHER}
    links = {"secret": OTHER, "previousSecret": LONG_SECRET}
    manifests = render({"auth": {"jwt": jwt}, "api": DOWNLOADS | {"links": links}})
    assert data_of(manifests, "-jwt") == {"jwt-secret": LONG_SECRET, "jwt-secret-previous": OTHER}
    assert data_of(manifests, "-links") == {
        "link-secret": OTHER,
        "link-secret-previous": LONG_SECRET,
    }
    assert list(data_of(render({"api": DOWNLOADS}), "-links")) == ["link-secret"]


def test_keys_of_a_secret_of_ones_own_have_the_names_that_are_said() -> None:
    jwt = {"existingSecret": "mine", "key": "a", "previousKey": "b"}
    manifests = render({"auth": {"jwt": jwt}})
    assert not of_kind(manifests, "Secret", "-jwt")
    assert secret_file(manifests, "JWT_SECRET_PREVIOUS_FILE") == {
        "name": "mine",
        "key": "b",
        "optional": True,
    }
