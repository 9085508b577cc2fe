"""Reads afresh what the watches tell of apart, for decisions that can't be taken back."""

from dataclasses import replace

from backupexport_operator.cluster_reader import ClusterReader
from backupexport_operator.observation import Observation
from backupexport_operator.sightings import with_jobs_and_pods
from backupexport_operator.targets import serving_target


async def look_around(reader: ClusterReader, seen: Observation) -> Observation:
    """`seen` with the export's target, Jobs and pods as the API server has them now."""
    uid = seen.export.metadata.uid
    targets = await reader.list_targets(seen.export.spec.project_id)
    jobs = await reader.list_jobs(uid)
    pods = await reader.list_pods(uid)
    return with_jobs_and_pods(replace(seen, target=serving_target(targets)), jobs, pods)
