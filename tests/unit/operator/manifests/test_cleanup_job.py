"""The Jobs that clean up: how long they tell of it, and whose they are."""

import builders
import pytest
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY
from backupexport_operator.manifests.jobs import cleanup_manifest
from backupexport_operator.manifests.pod import JobSettings

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
    defaults = JobSettings(namespace="n", runner_image="i", claim_name="c")
    spec = cleanup_manifest(builders.export(), task, defaults, is_owned=is_owned)["spec"]
    assert least < spec["ttlSecondsAfterFinished"] < most


def test_the_job_of_an_export_that_is_gone_is_nobodys() -> None:
    defaults = JobSettings(namespace="n", runner_image="i", claim_name="c", release="r")
    instance = "app.kubernetes.io/instance"
    owned = cleanup_manifest(builders.export(), TASK_TIDY, defaults)
    left = cleanup_manifest(builders.export(), TASK_TIDY, defaults, is_owned=False)
    (owner,) = owned["metadata"]["ownerReferences"]
    assert owner["uid"] == "uid-1"
    # Of an export that is deleted in the foreground: its file goes first.
    assert not owner["blockOwnerDeletion"]
    assert owned["metadata"]["labels"][instance] == "r"
    assert "ownerReferences" not in left["metadata"]
    assert instance not in left["metadata"]["labels"]
    assert left["spec"]["template"]["metadata"]["labels"][instance] == "r"
