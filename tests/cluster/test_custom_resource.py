"""The custom resource by hand, and what the API server refuses by itself."""

import json
from typing import Any

import pytest
from backupexport_contract import rules
from installation import SMALL, Installation
from playground.rest import Api
from playground.targets import export_manifest, read_export
from playground.tools import ToolError, apply, kubectl, wait_for

pytestmark = pytest.mark.cluster


def refusal(manifest: dict[str, Any], *options: str) -> str:
    """What kubectl says when the API server refuses a manifest."""
    with pytest.raises(ToolError) as refused:
        kubectl("create", *options, "-f", "-", stdin=json.dumps(manifest))
    return str(refused.value)


def test_an_export_by_hand_is_carried_out_and_served(installation: Installation, api: Api) -> None:
    namespace = installation.namespace
    apply(export_manifest(namespace, "by-hand", projectId=SMALL))
    kubectl("-n", namespace, "wait", "--for=condition=Complete", "bex/by-hand", "--timeout=240s")
    made = read_export(namespace, "by-hand")
    assert made["spec"] == {
        "projectId": SMALL, "format": "sql", "compress": True, "cancel": False,
        "content": "all", "owner": True, "privileges": True,
        "artifactPolicy": "Retain",
    }  # fmt: skip
    job = wait_for(lambda: _completed(api, made["metadata"]["uid"]), "the cache to see it", 60)
    assert job["compression"] == "zstd"
    assert job["artifact"]["sha256"] == made["status"]["artifact"]["sha256"]
    assert job["requested_by"] is None


def _completed(api: Api, job_id: str) -> dict[str, Any] | None:
    job = api.job(job_id)
    return job if job["status"] == "completed" else None


BROKEN_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"projectId": ""}, "must be 1 to 100 characters from A-Z a-z 0-9 - _"),
    ({"projectId": "a b"}, "must be 1 to 100 characters from A-Z a-z 0-9 - _"),
    ({"projectId": "a\n"}, "must be 1 to 100 characters from A-Z a-z 0-9 - _"),
    ({"projectId": "../etc"}, "must be 1 to 100 characters from A-Z a-z 0-9 - _"),
    ({"projectId": "a" * 101}, "may not be more than 100"),
    ({}, "spec.projectId: Required value"),
    ({"projectId": "p", "format": "plain"}, 'supported values: "sql", "tar", "custom"'),
    ({"projectId": "p", "content": "rows"}, 'supported values: "all", "schema", "data"'),
    ({"projectId": "p", "owner": "false"}, "must be of type boolean"),
    ({"projectId": "p", "includeTables": "a"}, "must be of type array"),
    ({"projectId": "p", "includeTables": [""]}, "must be 1 to 255 characters long"),
    ({"projectId": "p", "excludeTables": ["a\n"]}, "must not contain control characters"),
    ({"projectId": "p", "excludeSchemas": ["a"] * 101}, "must have at most 100 items"),
    ({"projectId": "p", "compress": "false"}, "must be of type boolean"),
    ({"projectId": "p", "compression": "xz"}, 'supported values: "zstd", "gzip"'),
    (
        {"projectId": "p", "compress": False, "compression": "gzip"},
        "compression is only allowed with compress: true",
    ),
    ({"projectId": "p", "storagePath": "/a"}, "must be relative: drop the leading /"),
    ({"projectId": "p", "storagePath": "a/../b"}, "must not contain '..'"),
    ({"projectId": "p", "storagePath": "a//b"}, "must not have an empty or '.' segment"),
    ({"projectId": "p", "storagePath": "a/"}, "must not have an empty or '.' segment"),
    ({"projectId": "p", "storagePath": "a\\b"}, "may hold only"),
    ({"projectId": "p", "storagePath": "%2e%2e"}, "may hold only"),
    ({"projectId": "p", "storagePath": ""}, "must be 1 to 255 characters long"),
    ({"projectId": "p", "storagePath": "a" * 256}, "may not be more than 255"),
    ({"projectId": "p", "notifyEmail": "nobody"}, "must be one e-mail address"),
    ({"projectId": "p", "notifyEmail": "a@b.io\nBcc: c@d.io"}, "must be one e-mail address"),
    ({"projectId": "p", "activeDeadlineSeconds": 0}, "greater than or equal to 1"),
    ({"projectId": "p", "unknown": 1}, "unknown field"),
]


@pytest.mark.parametrize(
    ("spec", "message"), BROKEN_SPECS, ids=[str(n) for n in range(len(BROKEN_SPECS))]
)
def test_a_broken_rule_is_refused_by_name(
    installation: Installation, spec: dict[str, Any], message: str
) -> None:
    assert message in refusal(export_manifest(installation.namespace, "broken", **spec))


def test_the_rules_of_python_and_of_the_api_server_agree(installation: Installation) -> None:
    values = [
        "a", ".", "..", "...", "a.b", "a..b", ".a", "a.", "a/.b", "a/b.", "a./b", "/", "//",
        "a/./b", "a/b/c", "-", "--help", "a b", "a\tb", "ä", "a\u2028b", "a\u202eb", "%00",
        "\\", "a'b", 'a"b', "a`b", "$(a)", "a\n", "\na", "a/\n", "\u200b",
    ]  # fmt: skip
    for value in values:
        spec = {"projectId": "p", "storagePath": value}
        manifest = export_manifest(installation.namespace, "agree", **spec)
        expected = rules.first_broken(rules.STORAGE_PATH, value) is None
        try:
            kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))
            allowed = True
        except ToolError:
            allowed = False
        assert allowed == expected, repr(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projectId": "other"}, "projectId is immutable"),
        ({"format": "tar"}, "format is immutable"),
        ({"compress": False}, "compress is immutable"),
        ({"storagePath": "a"}, "storagePath is immutable"),
        ({"notifyEmail": "a@example.com"}, "notifyEmail is immutable"),
        ({"activeDeadlineSeconds": 5}, "activeDeadlineSeconds is immutable"),
        ({"cancel": False}, "cancel can't be undone"),
    ],
)
def test_a_spec_does_not_change(
    installation: Installation, change: dict[str, Any], message: str
) -> None:
    namespace = installation.namespace
    apply(export_manifest(namespace, "fixed", projectId="nobody", cancel=True))
    with pytest.raises(ToolError) as refused:
        kubectl(
            "-n", namespace, "patch", "bex", "fixed", "--type=merge",
            "-p", json.dumps({"spec": change}),
        )  # fmt: skip
    assert message in str(refused.value)


def test_a_finished_phase_does_not_change(installation: Installation) -> None:
    namespace = installation.namespace
    apply(export_manifest(namespace, "over", projectId=SMALL, cancel=True))
    kubectl("-n", namespace, "wait", "--for=condition=Cancelled", "bex/over", "--timeout=120s")
    with pytest.raises(ToolError, match="a finished phase never changes again"):
        kubectl(
            "-n", namespace, "patch", "bex", "over", "--subresource=status", "--type=merge",
            "-p", '{"status":{"phase":"Running"}}',
        )  # fmt: skip


def test_exports_are_selected_by_project_and_phase(installation: Installation) -> None:
    namespace = installation.namespace
    apply(export_manifest(namespace, "selected", projectId="select-me", cancel=True))
    found = kubectl(
        "-n", namespace, "get", "bex", "-o", "name",
        "--field-selector", "spec.projectId=select-me",
    )  # fmt: skip
    assert found.split() == ["backupexport.backupexport.dev/selected"]
    kubectl("-n", namespace, "get", "bex", "--field-selector", "status.phase=Running")


def test_every_field_is_explained(installation: Installation) -> None:
    told = kubectl("explain", "backupexport.spec")
    assert "FIELD: " not in told or "<no description>" not in told
    assert "A directory below the project's own" in told
    assert "The project whose database is exported" in told
