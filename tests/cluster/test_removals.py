"""Files whose retention is over, on a volume of their own: how they go, and what is said of others.

The exports were never made: their status and their files are put there by hand.
"""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.names import LABEL_BATCH
from node_volume import SmallVolume, node_of_this_machine, small_volume
from playground.release import Release
from playground.targets import export_manifest, make_target
from playground.tools import get, kubectl, make_namespace, wait_for

pytestmark = pytest.mark.cluster

PROJECTS = ("alpha", "--beta", "gamma_")
EXPORTS = 48
RUNNER = 65532
OLD_CLAIM = "exports-of-old"


@dataclass(frozen=True)
class Removing:
    """A release that is to remove files; `jobs` are those that were seen to do so."""

    namespace: str
    volume: SmallVolume
    jobs: set[str]

    def exports(self) -> dict[str, dict[str, Any]]:
        """The BackupExports by name."""
        items = get("-n", self.namespace, "backupexports")["items"]
        return {item["metadata"]["name"]: item for item in items}

    def make(self, count: int) -> list[dict[str, Any]]:
        """Exports that wait for their targets."""
        names = [f"old-{number}" for number in range(count)]
        exports = [
            export_manifest(self.namespace, name, projectId=PROJECTS[number % len(PROJECTS)])
            for number, name in enumerate(names)
        ]
        kubectl("create", "-f", "-", stdin=_listed(exports))
        made = wait_for(self._all_pending, "the operator", 240)
        return [made[name] for name in names]

    def store(self, path: str) -> None:
        """A file and its manifest, as a runner leaves them."""
        file = self.volume.root / path
        file.parent.mkdir(exist_ok=True)
        os.chown(file.parent, RUNNER, RUNNER)
        for name in (file.name, f"{file.name}.json"):
            each = file.with_name(name)
            each.write_text("{}")
            os.chown(each, RUNNER, RUNNER)

    def expire(self, exports: list[dict[str, Any]], claims: dict[str, str]) -> None:
        """They have succeeded long ago, and their time will be over in a moment."""
        # Not before a busy machine has told of all of them.
        soon = timestamps.to_text(timestamps.now() + timedelta(seconds=20))
        for export in exports:
            artifact = {
                "path": path_of(export), "sizeBytes": 2, "uncompressedBytes": 2, "sha256": "ab",
                "serverVersion": "17.5", "dumpVersion": "17.6", "displaySize": "2 B",
                "claim": claims.get(export["metadata"]["name"], self.volume.claim),
            }  # fmt: skip
            export["status"] = {
                "phase": "Succeeded", "completionTime": soon, "expirationTime": soon,
                "artifact": artifact, "disposalPending": True,
            }  # fmt: skip
            del export["metadata"]["resourceVersion"]
        kubectl("replace", "--subresource=status", "-f", "-", stdin=_listed(exports))

    def left(self) -> list[str]:
        """The exports that are still there; notes the Jobs that are at work."""
        jobs = get("-n", self.namespace, "jobs", "-l", LABEL_BATCH)["items"]
        self.jobs.update(job["metadata"]["name"] for job in jobs)
        return sorted(self.exports())

    def said(self, name: str, reason: str) -> str:
        """What the first Warning of that reason about an export says."""

        def note() -> str | None:
            items = get("-n", self.namespace, "events.events.k8s.io")["items"]
            told = (it for it in items if it["regarding"]["name"] == name)
            return next((str(it["note"]) for it in told if it["reason"] == reason), None)

        return wait_for(note, f"{reason} about {name}", 180)

    def _all_pending(self) -> dict[str, dict[str, Any]] | None:
        exports = self.exports()
        phases = {export.get("status", {}).get("phase") for export in exports.values()}
        return exports if phases == {"Pending"} else None


def _listed(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def path_of(export: dict[str, Any]) -> str:
    return BackupExport.model_validate(export).path


@pytest.fixture(scope="module")
def removing() -> Iterator[Removing]:
    node = node_of_this_machine()
    if node is None:
        pytest.skip("the cluster's node is another machine, or this is not root: no small volume")
    namespace = f"backupexport-test-{secrets.token_hex(3)}"
    make_namespace(namespace)
    try:
        with small_volume(namespace, node, "16m") as volume:
            Release(namespace).install(
                {
                    "api": {"replicas": 1},
                    "operator": {"replicas": 1},
                    "storage": {"existingClaim": volume.claim, "formerClaims": [OLD_CLAIM]},
                }
            )
            for project in PROJECTS:
                make_target(namespace, project, {"host": "nowhere"}, suspend=True)
            yield Removing(namespace, volume, set())
            # No runner may be left to hold the volume.
            kubectl("-n", namespace, "delete", "jobs", "-l", LABEL_BATCH, "--timeout=240s")
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_files_that_expire_together_go_by_few_jobs_and_what_is_missing_is_said(
    removing: Removing,
) -> None:
    exports = removing.make(EXPORTS)
    missing, elsewhere, *others = exports
    for export in others:
        removing.store(path_of(export))
    untouched = [
        f"delta/{path_of(others[0]).rpartition('/')[2]}",
        f"alpha/{path_of(others[0]).rpartition('/')[2].replace('2', '1')}",
    ]
    for path in untouched:
        removing.store(path)
    removing.expire(exports, {"old-1": OLD_CLAIM})
    wait_for(lambda: removing.left() == ["old-0", "old-1"], "the removals", 400)
    kept = [file for file in removing.volume.files() if not file.endswith(".removed")]
    assert kept == sorted(name for path in untouched for name in (path, f"{path}.json"))
    # One for the claim that is gone, one for all others, unless the operator saw some late.
    assert 2 <= len(removing.jobs) <= 4

    note = removing.said("old-0", "FileMissing")
    assert f"{path_of(missing)} is not on {removing.volume.claim}" in note
    (condition,) = removing.exports()["old-0"]["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("FileMissing", "True")

    note = removing.said("old-1", "RemovalFailed")
    assert f"from {OLD_CLAIM}: its pod can't start: " in note
    assert f'persistentvolumeclaim "{OLD_CLAIM}" not found' in note
    # Whoever has removed the file by hand gets rid of the resource, too.
    kubectl("-n", removing.namespace, "delete", "bex", "old-0", "old-1", "--timeout=240s")
    assert path_of(elsewhere) not in removing.volume.files()
