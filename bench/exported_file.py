"""The demo database's export: the demo's own where there is one on the cluster, else a new one."""

import secrets
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from playground import demo_database
from playground.forward import forwarded
from playground.postgres import Postgres
from playground.release import Release
from playground.rest import Api
from playground.restore import ExportsVolume
from playground.targets import make_target
from playground.tools import get, namespace

_DEMO = "backupexport-demo"
_PROJECT = "bench"


@dataclass(frozen=True)
class ExportedFile:
    """A finished export, and where the volume's copy of its file is on this machine."""

    namespace: str
    job_id: str
    root: Path
    path: str
    size: int
    sha256: str


def demo_export(stack: ExitStack, root: Path) -> ExportedFile:
    """Find or make an export and copy its file below `root`; `stack` holds what was made."""
    server, name = Postgres(_DEMO), _newest(_DEMO)
    if name is None:
        print("  no export of the demo is there, making one", file=sys.stderr, flush=True)
        own = stack.enter_context(namespace(f"backupexport-bench-{secrets.token_hex(3)}"))
        server = Postgres(own)
        name = _make(server)
    export = get("-n", server.namespace, "backupexport", name)
    artifact = export["status"]["artifact"]
    file = root / artifact["path"]
    file.parent.mkdir(parents=True)
    volume = ExportsVolume(server.namespace, "backupexport-exports", server, "bench-reader")
    volume.open()
    try:
        volume.copy(artifact["path"], file)
    finally:
        volume.close()
    return ExportedFile(
        server.namespace, name, root, artifact["path"], artifact["sizeBytes"], artifact["sha256"]
    )


def _newest(in_namespace: str) -> str | None:
    """The demo's newest export that is still there: plain SQL, as most are."""
    found = [
        export
        for export in get("-n", in_namespace, "backupexports")["items"]
        if export.get("status", {}).get("phase") == "Succeeded"
        and export["spec"]["format"] == "sql"
        and export["status"]["artifact"]["path"].endswith(".zst")
    ]
    found.sort(key=lambda export: export["status"]["completionTime"])
    return found[-1]["metadata"]["name"] if found else None


def _make(server: Postgres) -> str:
    server.start()
    demo_database.load(server)
    release = Release(server.namespace)
    release.install({"storage": {"size": "5Gi", "keep": False}})
    make_target(server.namespace, _PROJECT, demo_database.exporter_connection(server))
    with forwarded(server.namespace, f"{release.name}-api") as url:
        api = Api(url, release.token("bench"))
        job = api.finished(api.export(project_id=_PROJECT).body["data"]["job_id"], 300)
    if job["status"] != "completed":
        raise RuntimeError(f"the export failed: {job['error']}")
    name: str = job["job_id"]
    return name
