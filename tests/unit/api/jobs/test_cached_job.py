"""Records: whatever somebody wrote into a resource must not stop the cache."""

import pytest
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_contract import names, timestamps


@pytest.mark.parametrize(
    "created",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-29T15:30:00", "soon", ""],
)
def test_an_annotation_that_is_no_time_falls_back_to_the_resource_s_own(created: str) -> None:
    job = CachedJob.of(
        {
            "metadata": {
                "name": "nightly",
                "uid": "7c0e1f0c-30f5-4f0a-8b0a-0e9d6c1e2f3a",
                "creationTimestamp": "2026-01-29T15:30:00Z",
                "annotations": {names.ANNOTATION_CREATED_AT: created},
            },
            "spec": {"projectId": "proj-123"},
        }
    )
    assert b'"created_at":"2026-01-29T15:30:00.000Z"' in job.json


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_utc_does_not_have_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        timestamps.from_text(text)
