"""`make demo`: the main job from nothing to a restored database, shown step by step.

Needs a cluster and images (`make cluster-up images`); running it again works.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from playground import demo_database, forward
from playground.postgres import Postgres
from playground.release import Release
from playground.rest import FINISHED, Api
from playground.restore import ExportsVolume
from playground.targets import make_target, read_export
from playground.tools import (
    STATE,
    kubectl,
    make_namespace,
    wait_for,
)

NAMESPACE = "backupexport-demo"
PROJECT = "demo-shop"
PORT = 18080
CLAIM = "backupexport-exports"
FORMATS = ("sql", "tar")

_began = time.monotonic()


class DemoFailedError(RuntimeError):
    """Something did not come out as it must; the message says what."""


def step(text: str) -> None:
    """A headline with the time since the start."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}[{time.monotonic() - _began:4.0f}s] {text}{plain}", flush=True)


def main() -> int:
    """0 where both exports restore to equal databases."""
    try:
        demo()
    except (RuntimeError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def demo() -> None:
    """All of it, in order."""
    make_namespace(NAMESPACE)
    server = Postgres(NAMESPACE)
    step("PostgreSQL 17 in a pod, and a database that is nobody's toy")
    server.start()
    fresh = demo_database.load(server)
    size = server.psql("SELECT pg_size_pretty(pg_database_size('demo'))")
    print(f"database demo: {size}{'' if fresh else ' (still there from an earlier run)'}")

    step("The project, installed by its own chart")
    release = Release(NAMESPACE)
    release.install({"storage": {"size": "5Gi"}})
    print(kubectl("-n", NAMESPACE, "get", "deployments,pods,pvc").rstrip())

    step(f"An ExportTarget: where the database of project {PROJECT} is")
    make_target(NAMESPACE, PROJECT, demo_database.exporter_connection(server))
    wait_for(_target_ready, "the ExportTarget's Ready condition", 30)
    print(kubectl("-n", NAMESPACE, "get", "exporttargets").rstrip())

    step("A token, and the API on 127.0.0.1")
    token = release.token("demo", "--project", PROJECT, "--ttl", "24h")
    url = forward.leave_forwarded(NAMESPACE, f"{release.name}-api", PORT)
    _write_environment(url, token)
    api = Api(url, token)
    print(url)

    jobs = [_export(api, dump_format) for dump_format in FORMATS]

    step("The same story in kubectl")
    print(kubectl("-n", NAMESPACE, "get", "backupexports", "-o", "wide").rstrip())

    volume = ExportsVolume(NAMESPACE, CLAIM, server)
    volume.open()
    for job in jobs:
        _prove(volume, server, job)
    _summary(url, jobs)


def _target_ready() -> bool:
    ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
    return kubectl("-n", NAMESPACE, "get", "exporttargets", "-o", ready).strip() == "True"


def _export(api: Api, dump_format: str) -> dict[str, Any]:
    step(f"An export as {dump_format}, over REST")
    body = {"project_id": PROJECT, "format": dump_format}
    print(f"$ curl -X POST {api.url}/api/backup/export -H 'Authorization: Bearer '\"$TOKEN\" \\")
    print(f"    -H 'Content-Type: application/json' -d '{json.dumps(body)}'")
    answer = api.export(**body)
    print(f"HTTP {answer.status}  Location: {answer.headers.get('location')}")
    print(json.dumps(answer.body, indent=2))
    if answer.status != 202:
        raise DemoFailedError(f"POST /api/backup/export answered {answer.status}, not 202")
    job_id = answer.body["data"]["job_id"]
    print(f"$ curl {api.url}/api/jobs/{job_id}")
    job = _watch(api, job_id)
    if job["status"] != "completed":
        raise DemoFailedError(f"the {dump_format} export ended as {job['status']}: {job['error']}")
    print(json.dumps(job["artifact"], indent=2))
    return job


def _watch(api: Api, job_id: str) -> dict[str, Any]:
    shown = ""

    def look() -> dict[str, Any] | None:
        nonlocal shown
        job = api.job(job_id)
        progress = job["progress"] or {}
        line = f"  {job['status']:<10}{progress.get('percent', 0):>4}%"
        if job["error"]:
            line += f"  {job['error']['reason']}: {job['error']['message']}"
        if line != shown:
            print(line, flush=True)
            shown = line
        return job if job["status"] in FINISHED else None

    return wait_for(look, f"the end of job {job_id}", 300, every=0.25)


def _prove(volume: ExportsVolume, server: Postgres, job: dict[str, Any]) -> None:
    artifact, dump_format = job["artifact"], job["format"]
    path = artifact["path"]
    step(f"The {dump_format} export: checked, restored into an empty database, compared")
    _must(volume.size(path) == artifact["size_bytes"], "the size is the recorded one")
    _must(volume.sha256(path) == artifact["sha256"], "the SHA-256 is the recorded one")
    manifest = json.loads(volume.text(f"{path}.json"))
    _must({key: manifest[key] for key in artifact} == artifact, "the manifest beside it agrees")
    database = f"restored_{dump_format}"
    seconds = _timed(lambda: volume.restore(path, database))
    tool = "psql -v ON_ERROR_STOP=1" if dump_format == "sql" else "pg_restore --exit-on-error"
    print(f"restored with {tool} in {seconds:.0f} s")
    compared = subprocess.run(demo_database.comparison(server, "demo", database), check=False)
    _must(compared.returncode == 0, "schema and content are equal")
    server.psql(f'DROP DATABASE "{database}"')


def _must(holds: bool, text: str) -> None:
    print(f"{'ok' if holds else 'NOT SO'}: {text}", flush=True)
    if not holds:
        raise DemoFailedError(f"not so: {text}")


def _timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def _write_environment(url: str, token: str) -> None:
    file = STATE / "demo.env"
    file.touch(mode=0o600)
    file.chmod(0o600)
    lines = {
        "API_URL": url,
        "TOKEN": token,
        "NAMESPACE": NAMESPACE,
        "KUBECONFIG": str(STATE / "kubeconfig"),
    }
    file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), "utf-8")


def _summary(url: str, jobs: list[dict[str, Any]]) -> None:
    step("Done")
    for job in jobs:
        export = read_export(NAMESPACE, job["job_id"])["status"]
        size = export["artifact"]["displaySize"]
        print(f"{job['format']}: {size}, restored and equal ({job['artifact']['path']})")
    print(
        f"""
The cluster stays up, with a web page on {url} (sign in with the TOKEN in
.cluster/demo.env). Going on by hand:

  . .cluster/demo.env && export PATH="$PWD/.cluster/bin:$PATH"
  curl -X POST "$API_URL/api/backup/export" -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -d '{{"project_id": "{PROJECT}"}}'
  kubectl -n "$NAMESPACE" get backupexports
  kubectl -n "$NAMESPACE" describe backupexport {jobs[0]["job_id"]}

`make cluster-down` takes all of it away."""
    )


if __name__ == "__main__":
    sys.exit(main())
