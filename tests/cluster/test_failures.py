"""What goes wrong ends with a reason that says what to do, and never hangs."""

from typing import Any

import pytest
from installation import SMALL, Installation
from playground import demo_database
from playground.postgres import Postgres
from playground.rest import Api
from playground.targets import export_manifest, make_target, read_export
from playground.tools import apply, kubectl, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def connection(installation: Installation) -> dict[str, str]:
    found = kubectl(
        "-n", installation.namespace, "get", "secret", f"target-{SMALL}", "-o",
        "go-template={{range $k, $v := .data}}{{$k}}={{base64decode $v}}\n{{end}}",
    )  # fmt: skip
    return dict(line.split("=", 1) for line in found.splitlines() if line)


def failed(api: Api, project_id: str, seconds: float = 120) -> dict[str, Any]:
    answer = api.export(project_id=project_id)
    assert answer.status == 202, answer.body
    job = api.finished(answer.body["data"]["job_id"], seconds)
    assert job["status"] == "failed"
    error: dict[str, Any] = job["error"]
    return error


def test_a_wrong_password_fails_at_once(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    wrong = {**connection, "password": "not-the-password"}
    make_target(installation.namespace, "wrong-password", wrong)
    error = failed(api, "wrong-password", 45)
    assert error["reason"] == "AuthenticationFailed"
    assert "not-the-password" not in error["message"]


def test_a_missing_database_fails_at_once(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    make_target(installation.namespace, "no-database", {**connection, "database": "not_there"})
    error = failed(api, "no-database", 45)
    assert error["reason"] == "DatabaseNotFound"
    assert "not_there" in error["message"]


def test_a_table_that_may_not_be_read_is_named(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    server = installation.server
    server.psql("CREATE ROLE nobody_much LOGIN PASSWORD 'nobody-much'")
    weak = {**connection, "username": "nobody_much", "password": "nobody-much"}
    make_target(installation.namespace, "no-permission", weak)
    error = failed(api, "no-permission", 45)
    assert error["reason"] == "PermissionDenied"
    assert "items" in error["message"]
    assert "pg_read_all_data" in error["message"]


def test_an_unknown_project_is_404_over_rest(api: Api) -> None:
    answer = api.export(project_id="nobody-knows-it")
    assert (answer.status, answer.body["code"]) == (404, "project_not_found")


def test_an_unknown_project_by_hand_fails(installation: Installation) -> None:
    namespace = installation.namespace
    apply(export_manifest(namespace, "lost", projectId="nobody-knows-it"))
    kubectl("-n", namespace, "wait", "--for=condition=Failed", "bex/lost", "--timeout=60s")
    assert read_export(namespace, "lost")["status"]["reason"] == "TargetNotFound"


def test_a_stopped_database_is_tried_again_and_then_fails(
    installation: Installation, api: Api
) -> None:
    server = Postgres(installation.namespace, "stopped")
    server.start()
    server.psql(f"CREATE ROLE {demo_database.EXPORTER} LOGIN")
    connection = demo_database.exporter_connection(server, "postgres")
    make_target(installation.namespace, "stopped", connection)
    server.stop()
    answer = api.export(project_id="stopped")
    job_id = answer.body["data"]["job_id"]
    tried = wait_for(lambda: api.job(job_id)["error"], "the first failure", 60)
    assert tried["reason"] == "ConnectionFailed"
    job = api.finished(job_id, 180)
    assert (job["status"], job["error"]["reason"]) == ("failed", "ConnectionFailed")
    assert read_export(installation.namespace, job_id)["status"]["attempts"] == 2


def test_a_missing_secret_is_told_while_pending_and_heals(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    make_target(namespace, "no-secret", connection)
    kubectl("-n", namespace, "delete", "secret", "target-nosecret")
    job_id = api.export(project_id="no-secret").body["data"]["job_id"]

    def told() -> dict[str, Any] | None:
        job = api.job(job_id)
        return job if job["error"] else None

    job = wait_for(told, "a reason", 60)
    assert (job["status"], job["error"]["reason"]) == ("pending", "SecretInvalid")
    make_target(namespace, "no-secret", connection)
    assert api.finished(job_id, 120)["status"] == "completed"


def test_a_suspended_target_holds_exports_back(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    make_target(namespace, "suspended", connection, suspend=True)
    job_id = api.export(project_id="suspended").body["data"]["job_id"]
    wait_for(
        lambda: (api.job(job_id)["error"] or {}).get("reason") == "TargetSuspended",
        "TargetSuspended",
        30,
    )
    make_target(namespace, "suspended", connection, suspend=False)
    assert api.finished(job_id)["status"] == "completed"


def test_a_job_deleted_by_hand_is_a_failure(installation: Installation, api: Api) -> None:
    job_id = api.export(project_id="large").body["data"]["job_id"]
    wait_for(lambda: api.job(job_id)["status"] == "running", "the start", 60, every=0.05)
    kubectl("-n", installation.namespace, "delete", "job", f"bex-{job_id}")
    job = api.finished(job_id)
    assert (job["status"], job["error"]["reason"]) == ("failed", "JobDeleted")


def test_a_failure_is_an_event_on_the_resource(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    make_target(installation.namespace, "no-database-either", {**connection, "database": "gone"})
    answer = api.export(project_id="no-database-either")
    job_id = answer.body["data"]["job_id"]
    api.finished(job_id, 60)
    described = kubectl("-n", installation.namespace, "describe", "bex", job_id)
    assert "Warning" in described[described.index("Events:") :]
    assert "DatabaseNotFound" in described[described.index("Events:") :]
