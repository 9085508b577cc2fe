"""Exports by kubectl: a repeated create makes no second one, cuts are bridged, the end is told."""

import json
import uuid
from typing import Any

import builders
import pytest
from backupexport_api.jobs.request import ExportRequest
from backupexport_api.jobs.request import export_manifest as api_manifest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.kubectl.exports import KubeExports, export_manifest, name_of_key
from backupexport_cli.kubectl.job_of_resource import SPEC_DEFAULTS
from backupexport_cli.kubectl.process import Kubectl
from backupexport_cli.service.interface import JobFilter
from backupexport_contract import timestamps
from fake_kubectl import FakeKubectl

BEX = "backupexports.backupexport.dev"
UID = "7c0e1f0c-30f5-4f0a-8b0a-0e9d6c1e2f3a"
OTHER = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
NOT_FOUND = f'Error from server (NotFound): {BEX} "a" not found\n'
TAKEN = f'Error from server (AlreadyExists): error when creating "STDIN": {BEX} "a" already exists'
REFUSED = "The connection to the server 10.0.0.1:6443 was refused - did you specify the right?\n"
CUT = 'error: error when creating "STDIN": Post "https://10.0.0.1:6443/apis": EOF\n'
BUSY = "Error from server (ServiceUnavailable): the server is currently unable to handle it\n"
RIGHT = f'Error from server (Forbidden): error when creating "STDIN": {BEX} is forbidden\n'
ENDS = f"{RIGHT.strip()}: unable to create in team because it is being terminated\n"


@pytest.fixture
def exports(kubectl: Kubectl) -> KubeExports:
    return KubeExports(kubectl, silence_seconds=0.3, patience_seconds=30, pauses=(0, 0, 0))


def resource(name: str = "nightly", phase: str | None = None, **metadata: Any) -> dict[str, Any]:
    status = {} if phase is None else {"phase": phase}
    return builders.export_manifest(name, status=status, **{"uid": UID, **metadata})


def event(sort: str, phase: str, **metadata: Any) -> str:
    seen = {"type": sort, "object": resource(phase=phase, **metadata)}
    return json.dumps(seen, indent=4) + "\n"


def listed(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(resources)}


def named(request: dict[str, Any], key: str = "key") -> dict[str, Any]:
    """What the API server makes of a created one."""
    manifest = export_manifest(request, name_of_key(key))
    spec = {
        "format": "sql", "content": "all", "owner": True, "privileges": True, "compress": True,
        "cancel": False, "artifactPolicy": "Retain", **manifest["spec"],
    }  # fmt: skip
    made = {**manifest["metadata"], "uid": UID, "creationTimestamp": builders.CREATED}
    return {**manifest, "metadata": made, "spec": spec}


REQUEST: dict[str, Any] = {
    "project_id": "p",
    "format": "tar",
    "exclude_table_data": ["a", "b"],
    "owner": False,
}


def test_a_create(program: FakeKubectl, exports: KubeExports) -> None:
    program.says("create", out=named(REQUEST))
    made = exports.create({**REQUEST, "storage_path": None}, "key")
    (call,) = program.calls
    assert call["argv"] == [
        "--namespace=team", "--request-timeout=15s", "create", "--validate=strict",
        "--filename=-", "--output=json",
    ]  # fmt: skip
    manifest = json.loads(call["stdin"])
    assert made == manifest["metadata"]["name"] == name_of_key("key")
    assert manifest["spec"] == {
        "projectId": "p", "format": "tar", "excludeTableData": ["a", "b"], "owner": False,
    }  # fmt: skip


def test_it_is_what_the_api_makes_of_the_same_request() -> None:
    ours = export_manifest(REQUEST, OTHER)
    created = timestamps.now()
    its = api_manifest(
        ExportRequest.model_validate(REQUEST), job_id=OTHER, subject="alice", created=created
    )
    # Who asks is known to the api alone, and the time is its own.
    del its["metadata"]["annotations"]
    # The API server fills in the rest.
    assert ours | {"spec": SPEC_DEFAULTS | ours["spec"]} == its


def test_a_key_is_a_name_and_each_its_own() -> None:
    assert name_of_key("a") == name_of_key("a") != name_of_key("b")
    assert uuid.UUID(name_of_key("a")).version == 4


def test_a_repeated_create_finds_the_first(program: FakeKubectl, exports: KubeExports) -> None:
    program.says("create", err=TAKEN, code=1).says("get", out=named(REQUEST))
    assert exports.create(REQUEST, "key") == name_of_key("key")


def test_one_that_was_cancelled_meanwhile_is_the_same(
    program: FakeKubectl, exports: KubeExports
) -> None:
    stored = named(REQUEST)
    stored["spec"]["cancel"] = True
    program.says("create", err=TAKEN, code=1).says("get", out=stored)
    assert exports.create(REQUEST, "key") == name_of_key("key")


@pytest.mark.parametrize("lost", [CUT, REFUSED, BUSY], ids=["cut", "refused", "busy"])
def test_a_create_without_an_answer_is_tried_again(
    program: FakeKubectl, exports: KubeExports, lost: str
) -> None:
    program.says("create", err=lost, code=1).says("create", err=TAKEN, code=1)
    program.says("get", out=named(REQUEST))
    assert exports.create(REQUEST, "key") == name_of_key("key")
    first, second, _ = program.calls
    assert first["stdin"] == second["stdin"]


def test_the_answer_of_the_second_look_may_be_lost_too(
    program: FakeKubectl, exports: KubeExports
) -> None:
    program.says("create", err=CUT, code=1).says("create", err=TAKEN, code=1)
    program.says("get", err=CUT, code=1).says("get", out=named(REQUEST))
    assert exports.create(REQUEST, "key") == name_of_key("key")


@pytest.mark.parametrize(
    ("said", "tries", "exit_code"),
    [(CUT, 4, ExitCode.UNREACHABLE), (ENDS, 1, ExitCode.UNREACHABLE), (RIGHT, 1, 3), ("x", 1, 1)],
    ids=["cut", "a namespace that ends", "no right", "unknown"],
)
def test_a_create_is_not_tried_for_ever(
    program: FakeKubectl, exports: KubeExports, said: str, tries: int, exit_code: int
) -> None:
    program.says("create", err=said, code=1)
    with pytest.raises(CliError) as raised:
        exports.create(REQUEST, "key")
    assert (raised.value.exit_code, len(program.calls)) == (exit_code, tries)


@pytest.mark.parametrize(
    "other", [{"project_id": "q"}, {**REQUEST, "owner": True}, {**REQUEST, "compress": False}]
)
def test_the_key_of_another_export_is_refused(
    program: FakeKubectl, exports: KubeExports, other: dict[str, Any]
) -> None:
    program.says("create", err=TAKEN, code=1).says("get", out=named(other))
    with pytest.raises(CliError, match="used for another export") as raised:
        exports.create(REQUEST, "key")
    assert raised.value.code == "idempotency_key_reused"


def test_a_job_by_its_name(program: FakeKubectl, exports: KubeExports) -> None:
    program.says("get", "nightly", out=resource(phase="Running"))
    job = exports.job("nightly")
    assert (job["job_id"], job["status"]) == (UID, "running")


def test_a_job_by_its_uid(program: FakeKubectl, exports: KubeExports) -> None:
    where = f'--output=jsonpath={{.items[?(@.metadata.uid=="{UID}")].metadata.name}}'
    program.says("get", UID, err=NOT_FOUND, code=1).says("get", where, out="nightly")
    program.says("get", "nightly", out=resource())
    assert exports.job(UID)["job_id"] == UID


@pytest.mark.parametrize("job_id", ["nope", OTHER, "--all", "-o", "a b", "A", "", "a" * 300])
def test_no_such_job(program: FakeKubectl, exports: KubeExports, job_id: str) -> None:
    program.says("get", err=NOT_FOUND, code=1)
    if job_id == OTHER:
        where = f'--output=jsonpath={{.items[?(@.metadata.uid=="{OTHER}")].metadata.name}}'
        program.says("get", where, out="")
    with pytest.raises(CliError) as raised:
        exports.job(job_id)
    assert raised.value.exit_code == ExitCode.NOT_FOUND
    assert not any({"--all", "-o"} & set(call["argv"]) for call in program.calls)


@pytest.mark.parametrize(
    ("wanted", "selector"),
    [
        (JobFilter(), None),
        (JobFilter(project_id="--help"), "spec.projectId=--help"),
        (JobFilter(status="completed"), "status.phase=Succeeded"),
        (JobFilter("p", "failed"), "spec.projectId=p,status.phase=Failed"),
        (
            JobFilter(status="pending"),
            "status.phase!=Running,status.phase!=Succeeded,status.phase!=Failed,"
            "status.phase!=Cancelled",
        ),
    ],
)
def test_jobs_are_chosen_by_the_server(
    program: FakeKubectl, exports: KubeExports, wanted: JobFilter, selector: str | None
) -> None:
    program.says("get", out=listed())
    assert exports.jobs(wanted, 10) == []
    given = [word for word in program.calls[0]["argv"] if word.startswith("--field-selector")]
    assert given == ([] if selector is None else [f"--field-selector={selector}"])


NO_NAMESPACE = 'Error from server (NotFound): namespaces "backups" not found'
NOT_ALLOWED = (
    'Error from server (Forbidden): namespaces "backups" is forbidden: User "ann" cannot get'
    ' resource "namespaces" in API group "" in the namespace "backups"'
)


def test_a_namespace_that_is_not_there_is_no_empty_one(
    program: FakeKubectl, exports: KubeExports
) -> None:
    program.says("get", out=listed()).says("get", "namespace", err=NO_NAMESPACE, code=1)
    with pytest.raises(CliError, match="no such namespace") as raised:
        exports.jobs(JobFilter(), 10)
    assert raised.value.exit_code == ExitCode.NOT_FOUND


def test_who_may_not_look_at_namespaces_may_list_exports(
    program: FakeKubectl, exports: KubeExports
) -> None:
    program.says("get", out=listed()).says("get", "namespace", err=NOT_ALLOWED, code=1)
    assert exports.jobs(JobFilter(), 10) == []


def test_jobs_are_the_newest_and_no_more(program: FakeKubectl, exports: KubeExports) -> None:
    times = [f"2026-01-29T15:30:{second:02}Z" for second in (3, 1, 2)]
    found = [resource(f"e{time[-3:-1]}", creationTimestamp=time, uid=time) for time in times]
    program.says("get", out=listed(*found))
    jobs = exports.jobs(JobFilter(), 2)
    assert [job["created_at"][17:19] for job in jobs] == ["03", "02"]


@pytest.mark.parametrize("wanted", [JobFilter(project_id="a,b=c"), JobFilter(status="lost")])
def test_what_can_t_be_chosen_by_is_refused(
    program: FakeKubectl, exports: KubeExports, wanted: JobFilter
) -> None:
    with pytest.raises(CliError) as raised:
        exports.jobs(wanted, 10)
    assert raised.value.exit_code == ExitCode.USAGE
    assert program.calls == []


def watching(program: FakeKubectl, *phases: str) -> None:
    for phase in phases:
        program.says("get", "nightly", out=resource(phase=phase))


def statuses(exports: KubeExports) -> list[str]:
    return [job["status"] for job in exports.states("nightly")]


def test_states_come_from_a_watch(program: FakeKubectl, exports: KubeExports) -> None:
    watching(program, "Pending")
    told = [
        event("ADDED", "Pending"), event("MODIFIED", "Running"), event("MODIFIED", "Running"),
        event("MODIFIED", "Succeeded"), event("MODIFIED", "Failed"),
    ]  # fmt: skip
    program.says("--watch", out="".join(told), stays=True)
    assert statuses(exports) == ["pending", "running", "completed"]
    watch = next(call["argv"] for call in program.calls if "--watch" in call["argv"])
    assert "--field-selector=metadata.name=nightly" in watch
    assert not any("request-timeout" in word for word in watch)


def test_what_has_ended_is_not_watched(program: FakeKubectl, exports: KubeExports) -> None:
    watching(program, "Cancelled")
    assert statuses(exports) == ["cancelled"]
    assert not any("--watch" in call["argv"] for call in program.calls)


def test_a_cut_watch_is_bridged(program: FakeKubectl, kubectl: Kubectl) -> None:
    cuts: list[CliError] = []
    exports = KubeExports(kubectl, silence_seconds=5, on_cut=cuts.append)
    watching(program, "Pending")
    program.says("--watch", out=event("MODIFIED", "Running"), err=REFUSED, code=1)
    program.says("--watch", out='{"type": "MODIF', code=0)
    program.says("--watch", out=event("MODIFIED", "Running") + event("MODIFIED", "Succeeded"))
    assert statuses(exports)[-1] == "completed"
    assert len(cuts) == 2


def test_what_a_silent_watch_leaves_out_is_asked_for(
    program: FakeKubectl, exports: KubeExports
) -> None:
    watching(program, "Pending", "Pending", "Running", "Succeeded")
    program.says("--watch", stays=True)
    assert statuses(exports) == ["pending", "running", "completed"]
    assert sum("--watch" in call["argv"] for call in program.calls) == 1


@pytest.mark.parametrize("end", ["told", "silent", "replaced"])
def test_the_end_of_the_resource_is_told(
    program: FakeKubectl, exports: KubeExports, end: str
) -> None:
    watching(program, "Running", "Running")
    if end == "told":
        program.says("--watch", out=event("DELETED", "Running"), stays=True)
    elif end == "replaced":
        program.says("--watch", out=event("ADDED", "Pending", uid=OTHER), stays=True)
    else:
        program.says("--watch", stays=True)
        program.says("get", "nightly", err=NOT_FOUND, code=1)
    with pytest.raises(CliError, match="was deleted") as raised:
        statuses(exports)
    assert raised.value.exit_code == ExitCode.NOT_FOUND


def test_a_cluster_that_stays_away_is_given_up(program: FakeKubectl, kubectl: Kubectl) -> None:
    exports = KubeExports(kubectl, silence_seconds=5, patience_seconds=0.5)
    watching(program, "Running", "Running")
    program.says("get", "nightly", err=REFUSED, code=1)
    program.says("--watch", err=REFUSED, code=1)
    with pytest.raises(CliError) as raised:
        statuses(exports)
    assert raised.value.exit_code == ExitCode.UNREACHABLE


def test_a_right_that_is_missing_is_told_at_once(
    program: FakeKubectl, exports: KubeExports
) -> None:
    watching(program, "Running")
    forbidden = f"Error from server (Forbidden): {BEX} is forbidden: User cannot watch resource\n"
    program.says("--watch", err=forbidden, code=1)
    with pytest.raises(CliError) as raised:
        statuses(exports)
    assert raised.value.exit_code == ExitCode.NOT_ALLOWED


def test_the_watch_ends_with_whoever_looks(program: FakeKubectl, exports: KubeExports) -> None:
    watching(program, "Pending")
    program.says("--watch", out=event("MODIFIED", "Running"), stays=True)
    states = exports.states("nightly")
    assert [next(states)["status"], next(states)["status"]] == ["pending", "running"]
    states.close()  # type: ignore[attr-defined]


def test_a_cancel(program: FakeKubectl, exports: KubeExports) -> None:
    program.says("get", "nightly", out=resource(phase="Running")).says("patch")
    exports.cancel("nightly")
    argv = program.calls[-1]["argv"]
    assert argv[2:6] == ["patch", BEX, "nightly", "--type=merge"]
    patch = json.loads(argv[6].removeprefix("--patch="))
    assert patch == {"metadata": {"uid": UID}, "spec": {"cancel": True}}


def test_what_has_ended_is_not_cancelled(program: FakeKubectl, exports: KubeExports) -> None:
    program.says("get", "nightly", out=resource(phase="Succeeded"))
    with pytest.raises(CliError, match="nothing left to cancel") as raised:
        exports.cancel("nightly")
    assert raised.value.exit_code == ExitCode.FAILED
    assert not any("patch" in call["argv"] for call in program.calls)


def test_what_ends_at_that_moment_is_not_cancelled(
    program: FakeKubectl, exports: KubeExports
) -> None:
    program.says("get", "nightly", out=resource(phase="Running"))
    program.says("get", "nightly", out=resource(phase="Succeeded"))
    rule = "<nil>: Invalid value: null: the export has ended: there is nothing left to cancel\n"
    program.says("patch", err=f'The BackupExport "nightly" is invalid: {rule}', code=1)
    with pytest.raises(CliError, match="nothing left to cancel") as raised:
        exports.cancel("nightly")
    assert raised.value.exit_code == ExitCode.FAILED
