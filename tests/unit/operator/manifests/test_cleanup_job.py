"""The Jobs that clean up: how long they tell of it, and whose they are."""

import json

import builders
import pytest
from backupexport_contract import runner_protocol
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY
from backupexport_operator.cleanup.batches import MOST_FILES
from backupexport_operator.manifests.jobs import cleanup_manifest, removal_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.jobs_and_pods import observed_job
from backupexport_operator.observed.places import Place
from kubernetes.client import V1Job

# No storage is there any more.
OLD = Place("default", "old")
A_WEEK = 7 * 24 * 3600


@pytest.mark.parametrize(
    ("task", "is_owned", "least", "most"),
    [
        # A mail may be tried for a week, and the cleanup must not be done anew all that time.
        (TASK_REMOVE, True, A_WEEK, 2 * A_WEEK),
        (TASK_REMOVE, False, 60, 3600),
        (TASK_TIDY, True, 60, 3600),
    ],
)
def test_how_long_it_stays(task: str, is_owned: bool, least: int, most: int) -> None:
    defaults = JobSettings(namespace="n", runner_image="i", storages=builders.STORAGES)
    place = builders.PLACE
    job = cleanup_manifest(builders.export(), task, defaults, place, is_owned=is_owned)
    assert least < job["spec"]["ttlSecondsAfterFinished"] < most


def test_a_batch_sees_its_projects_alone_and_is_nobodys() -> None:
    defaults = JobSettings(namespace="n", runner_image="i", storages=builders.STORAGES, release="r")
    exports = [
        builders.export(
            f"e{number}", {"projectId": project, "storagePath": "a/b"}, uid=f"u{number}"
        )
        for number, project in enumerate(("p", "--help", "p"))
    ]
    job = removal_manifest(exports, OLD, defaults)
    assert job == removal_manifest(exports, OLD, defaults)
    elsewhere = removal_manifest(exports, builders.PLACE, defaults)
    assert job["metadata"]["name"] != elsewhere["metadata"]["name"]
    assert A_WEEK < job["spec"]["ttlSecondsAfterFinished"] < 2 * A_WEEK
    assert "ownerReferences" not in job["metadata"]
    assert "app.kubernetes.io/instance" not in job["metadata"]["labels"]
    pod = job["spec"]["template"]["spec"]
    mounts = pod["containers"][0]["volumeMounts"]
    assert {it["mountPath"]: it.get("subPath") for it in mounts} == {
        "/exports/p": "p", "/exports/--help": "--help", "/run/backupexport": None,
    }  # fmt: skip
    claim = {"persistentVolumeClaim": {"claimName": "old"}}
    assert claim.items() <= pod["volumes"][0].items()
    environment = {it["name"]: it["value"] for it in pod["containers"][0]["env"]}
    assert json.loads(environment["EXPORT_FILES"]) == [export.path for export in exports]
    assert observed_job(job).batch == ("u0", "u1", "u2")


def test_the_environment_of_the_largest_batch_is_in_pieces() -> None:
    defaults = JobSettings(namespace="n", runner_image="i", storages=builders.STORAGES)
    spec = {"projectId": "p" * 100, "storagePath": "a" * 255}
    exports = [builders.export(f"e{n}", spec, uid=f"u{n}") for n in range(MOST_FILES)]
    job = removal_manifest(exports, builders.PLACE, defaults)
    V1Job.model_validate(job)
    environment = job["spec"]["template"]["spec"]["containers"][0]["env"]
    values = {it["name"]: it["value"] for it in environment}
    assert max(map(len, values.values())) < 128 * 1024
    text = runner_protocol.from_pieces(runner_protocol.ENV_FILES, values)
    assert json.loads(text) == [export.path for export in exports]


def test_the_job_of_an_export_that_is_gone_is_nobodys() -> None:
    defaults = JobSettings(namespace="n", runner_image="i", storages=builders.STORAGES, release="r")
    instance = "app.kubernetes.io/instance"
    owned = cleanup_manifest(builders.export(), TASK_TIDY, defaults, builders.PLACE)
    left = cleanup_manifest(builders.export(), TASK_TIDY, defaults, builders.PLACE, is_owned=False)
    (owner,) = owned["metadata"]["ownerReferences"]
    assert owner["uid"] == "uid-1"
    # Of an export that is deleted in the foreground: its file goes first.
    assert not owner["blockOwnerDeletion"]
    assert owned["metadata"]["labels"][instance] == "r"
    assert "ownerReferences" not in left["metadata"]
    assert instance not in left["metadata"]["labels"]
    assert left["spec"]["template"]["metadata"]["labels"][instance] == "r"
