"""ExportTargets and BackupExports as a person would write them by hand."""

from typing import Any

from playground.tools import apply, get

API_VERSION = "backupexport.dev/v1alpha1"


def target_name(project_id: str) -> str:
    """What `make_target` calls a project's target, and its Secret."""
    return "target-" + "".join(c for c in project_id.lower() if c.isalnum())


def make_target(namespace: str, project_id: str, secret: dict[str, str], **spec: Any) -> None:
    """A Secret with `secret` in it and an ExportTarget for `project_id` that names it."""
    name = target_name(project_id)
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": secret,
        },
        {
            "apiVersion": API_VERSION,
            "kind": "ExportTarget",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"projectId": project_id, "secretRef": {"name": name}, **spec},
        },
    )


def export_manifest(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A BackupExport."""
    return {
        "apiVersion": API_VERSION,
        "kind": "BackupExport",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def read_export(namespace: str, name: str) -> dict[str, Any]:
    """The BackupExport as the API server has it."""
    found: dict[str, Any] = get("-n", namespace, "backupexport", name)
    return found
