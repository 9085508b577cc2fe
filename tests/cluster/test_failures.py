"""What goes wrong ends with a reason that says what to do, and never hangs."""

from typing import Any

import odd_servers
import pytest
import shared_server
from backupexport_contract import timestamps
from failing_exports import (
    Attempted,
    assert_failed_at_once,
    assert_tried_again_and_failed,
    begin,
    files_of,
)
from held_project import HeldProject
from installation import Installation
from playground import demo_database
from playground.postgres import CONTAINER_SECURITY, Postgres
from playground.rest import Api
from playground.targets import export_manifest, make_target, read_export
from playground.tools import apply, images, kubectl, wait_for

pytestmark = pytest.mark.cluster

# A page of rubbish after the table's own, which only a reader of the whole table comes upon.
_DAMAGE = """
CREATE TABLE harmed AS SELECT 1 AS id;
SELECT format('COPY (SELECT 1) TO PROGRAM %L', 'head -c 8192 /dev/urandom >> '
    || current_setting('data_directory') || '/' || pg_relation_filepath('harmed')) \\gexec
"""
_HIDDEN_ROWS = """
CREATE TABLE rows (id int);
ALTER TABLE rows ENABLE ROW LEVEL SECURITY;
CREATE ROLE half_blind LOGIN PASSWORD 'half-blind';
GRANT pg_read_all_data TO half_blind;
"""


@pytest.fixture(scope="module")
def attempted(installation: Installation, connection: dict[str, str]) -> dict[str, Attempted]:
    """Exports whose servers are at fault, all begun at once."""
    namespace, server = installation.namespace, installation.server
    apply(*odd_servers.manifests(namespace, images()["RUNNER_IMAGE"], CONTAINER_SECURITY))
    kubectl(
        "-n", namespace, "wait", "--for=condition=Ready", f"pod/{odd_servers.NAME}",
        "--timeout=240s",
    )  # fmt: skip
    server.psql("CREATE ROLE nobody_at_all LOGIN PASSWORD 'nobody-at-all'")
    server.psql("CREATE DATABASE damaged")
    server.psql(_DAMAGE, "damaged")
    server.psql("CREATE DATABASE hidden")
    server.psql(_HIDDEN_ROWS, "hidden")
    odd = {**connection, "host": f"{odd_servers.NAME}.{namespace}.svc"}
    connections = {
        "newer": {**odd, "port": str(odd_servers.NEWER_PORT)},
        "silent": {**odd, "port": str(odd_servers.SILENT_PORT)},
        "dropping": {**odd, "port": str(odd_servers.DROPPING_PORT)},
        "refusing": {**connection, "host": shared_server.address(server), "port": "1"},
        "unknown-host": {**connection, "host": f"nobody.{namespace}.svc"},
        "bad-password": {**connection, "password": "not-the-right-one"},
        "no-permission-at-all": {
            **connection, "username": "nobody_at_all", "password": "nobody-at-all",
        },
        "damaged": {**connection, "database": "damaged"},
        "hidden": {
            **connection, "database": "hidden", "username": "half_blind", "password": "half-blind",
        },
    }  # fmt: skip
    not_there = {"connection": {"database": "not_there"}}
    return {name: begin(namespace, name, with_) for name, with_ in connections.items()} | {
        "no-such-database": begin(namespace, "no-such-database", connection, not_there)
    }


def test_what_cannot_heal_is_tried_once(attempted: dict[str, Attempted]) -> None:
    assert_failed_at_once(
        attempted["newer"], "ServerVersionUnsupported",
        rf"PostgreSQL {odd_servers.NEWER_VERSION}\b", r"pg_dump of the runner is 18\b",
        r"runner\.image that holds pg_dump 99",
    )  # fmt: skip
    assert_failed_at_once(attempted["bad-password"], "AuthenticationFailed", "correct .*password")
    assert_failed_at_once(
        attempted["no-such-database"], "DatabaseNotFound", "not_there", "correct the database"
    )
    assert_failed_at_once(
        attempted["no-permission-at-all"], "PermissionDenied",
        "table .*items", "grant the user pg_read_all_data or SELECT on it",
    )  # fmt: skip
    assert_failed_at_once(attempted["hidden"], "PermissionDenied", "table .*rows", "BYPASSRLS")


@pytest.mark.parametrize("name", ["refusing", "silent", "dropping", "unknown-host"])
def test_a_server_that_cannot_be_reached_is_tried_again(
    attempted: dict[str, Attempted], name: str
) -> None:
    words = {
        "refusing": "refused", "unknown-host": "host name is unknown",
        "silent": "did not answer in time", "dropping": "did not answer in time|timed out",
    }  # fmt: skip
    assert_tried_again_and_failed(attempted[name], "ConnectionFailed", words[name], "check")
    for pod in attempted[name].pods():
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        began, finished = (
            timestamps.from_text(ended[moment]) for moment in ("startedAt", "finishedAt")
        )
        # Ten seconds, and those that a busy node takes to start a program.  Who leaves it to the
        # kernel waits for two minutes.
        assert (finished - began).total_seconds() < 90


def test_a_damaged_table_is_told_in_the_servers_words(attempted: dict[str, Attempted]) -> None:
    assert_failed_at_once(
        attempted["damaged"], "DumpFailed", "invalid page in block", "data are damaged",
        "runner's log",
    )  # fmt: skip


def test_no_failed_attempt_leaves_a_file(
    installation: Installation, attempted: dict[str, Attempted]
) -> None:
    for export in attempted.values():
        export.ended()
    assert files_of(installation, *(export.project_id for export in attempted.values())) == []


def failed_at_once(installation: Installation, api: Api, project_id: str) -> dict[str, Any]:
    """The error of an export that was tried once."""
    answer = api.export(project_id=project_id)
    assert answer.status == 202, answer.body
    job = api.finished(answer.body["data"]["job_id"], 400)
    assert job["status"] == "failed"
    assert read_export(installation.namespace, job["job_id"])["status"]["attempts"] == 1
    error: dict[str, Any] = job["error"]
    return error


def test_a_wrong_password_fails_at_once(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    wrong = {**connection, "password": "not-the-password"}
    make_target(installation.namespace, "wrong-password", wrong)
    error = failed_at_once(installation, api, "wrong-password")
    assert error["reason"] == "AuthenticationFailed"
    assert "not-the-password" not in error["message"]


def test_a_missing_database_fails_at_once(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    # The name of a database is told where it stands in the clear, and hidden out of a Secret.
    named = {"database": "not_there"}
    make_target(installation.namespace, "no-database", connection, connection=named)
    error = failed_at_once(installation, api, "no-database")
    assert error["reason"] == "DatabaseNotFound"
    assert "not_there" in error["message"]


def test_a_table_that_may_not_be_read_is_named(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    server = installation.server
    server.psql("CREATE ROLE nobody_much LOGIN PASSWORD 'nobody-much'")
    weak = {**connection, "username": "nobody_much", "password": "nobody-much"}
    make_target(installation.namespace, "no-permission", weak)
    error = failed_at_once(installation, api, "no-permission")
    assert error["reason"] == "PermissionDenied"
    assert "items" in error["message"]
    assert "pg_read_all_data" in error["message"]


def test_an_unknown_project_is_404_over_rest(api: Api) -> None:
    answer = api.export(project_id="nobody-knows-it")
    assert (answer.status, answer.body["code"]) == (404, "project_not_found")


def test_an_unknown_project_by_hand_fails(installation: Installation) -> None:
    namespace = installation.namespace
    apply(export_manifest(namespace, "lost", projectId="nobody-knows-it"))
    kubectl("-n", namespace, "wait", "--for=condition=Failed", "bex/lost", "--timeout=120s")
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
    tried = wait_for(lambda: api.job(job_id)["error"], "the first failure", 240)
    assert tried["reason"] == "ConnectionFailed"
    job = api.finished(job_id, 600)
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

    job = wait_for(told, "a reason", 240)
    assert (job["status"], job["error"]["reason"]) == ("pending", "SecretInvalid")
    make_target(namespace, "no-secret", connection)
    assert api.finished(job_id, 600)["status"] == "completed"


def test_a_suspended_target_holds_exports_back(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    make_target(namespace, "suspended", connection, suspend=True)
    job_id = api.export(project_id="suspended").body["data"]["job_id"]
    wait_for(
        lambda: (api.job(job_id)["error"] or {}).get("reason") == "TargetSuspended",
        "TargetSuspended",
        120,
    )
    make_target(namespace, "suspended", connection, suspend=False)
    assert api.finished(job_id)["status"] == "completed"


def test_a_job_deleted_by_hand_is_a_failure(
    installation: Installation, api: Api, held_project: HeldProject
) -> None:
    with held_project.locked():
        job_id = api.export(project_id=held_project.name).body["data"]["job_id"]
        held_project.wait_until_blocked(job_id)
        wait_for(lambda: api.job(job_id)["status"] == "running", "the start", 120)
        kubectl("-n", installation.namespace, "delete", "job", f"bex-{job_id}")
        job = api.finished(job_id, 400)
    assert (job["status"], job["error"]["reason"]) == ("failed", "JobDeleted")


def test_a_failure_is_an_event_on_the_resource(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    make_target(installation.namespace, "no-database-either", {**connection, "database": "gone"})
    answer = api.export(project_id="no-database-either")
    job_id = answer.body["data"]["job_id"]
    api.finished(job_id, 400)

    def is_told() -> bool:
        described = kubectl("-n", installation.namespace, "describe", "bex", job_id)
        events = described.partition("Events:")[2]
        return "Warning" in events and "DatabaseNotFound" in events

    # It comes a moment after the status.
    wait_for(is_told, "the Event", 120)
