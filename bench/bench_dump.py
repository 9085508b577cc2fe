"""`make bench-dump`: what an export costs beside a bare pg_dump of the same database.

In each round every contender dumps the demo database once, in turn, so that a slow moment of
the machine hits all of them; medians and their ratios are printed.  Times of the runner are
those of its pg_dump (from its own log), times of the others are taken in their pod.
"""

import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from playground import demo_database
from playground.forward import forwarded
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY, Postgres
from playground.release import Release
from playground.rest import FINISHED, Api
from playground.targets import make_target
from playground.tools import apply, images, kubectl, namespace, wait_for

NAMESPACE = f"backupexport-bench-{secrets.token_hex(3)}"
PROJECT = "bench"
ROUNDS = 5
POD = "bare"

RAW = "pg_dump > /dev/null"
GZIP = "pg_dump | gzip -6"
EXPORTS: dict[str, dict[str, Any]] = {
    "export, zstd": {},
    "export, gzip": {"compression": "gzip"},
    "export, uncompressed": {"compress": False},
}
_TIMED = 'began=$(date +%s.%N); {}; ended=$(date +%s.%N); echo "$began $ended"'


class Overheads:
    """Seconds around pg_dump in each export: from the POST to its start, from its end."""

    def __init__(self) -> None:
        self.start: list[float] = []
        self.finish: list[float] = []


def main() -> int:
    """Print the table and the bench line."""
    with namespace(NAMESPACE):
        server = Postgres(NAMESPACE)
        server.start()
        demo_database.load(server)
        release = Release(NAMESPACE)
        release.install({"storage": {"size": "20Gi", "keep": False}})
        connection = demo_database.exporter_connection(server)
        make_target(NAMESPACE, PROJECT, connection)
        _start_bare_pod(connection)
        overheads = Overheads()
        with forwarded(NAMESPACE, f"{release.name}-api") as url:
            seconds = _measure(url, release, overheads)
    _print(seconds, overheads)
    return 0


def _measure(url: str, release: Release, overheads: Overheads) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}
    for turn in range(ROUNDS + 1):
        api = Api(url, release.token(f"bench-{turn}"))
        contenders: dict[str, Callable[[], float]] = {
            RAW: partial(_bare, "pg_dump --format=plain > /dev/null"),
            GZIP: partial(_bare, "pg_dump --format=plain | gzip -6 > /scratch/dump.gz"),
        }
        for name, fields in EXPORTS.items():
            contenders[name] = partial(_export, api, fields, overheads)
        for name, contender in contenders.items():
            taken = contender()
            print(f"  round {turn}: {name}: {taken:.2f} s", file=sys.stderr, flush=True)
            # The first round only warms the caches.
            if turn > 0:
                seconds.setdefault(name, []).append(taken)
        if turn == 0:
            overheads.start.clear()
            overheads.finish.clear()
    return seconds


def _bare(pipeline: str) -> float:
    script = "set -e -o pipefail; PATH=$PATH:$(echo /usr/lib/postgresql/*/bin); " + _TIMED.format(
        pipeline
    )
    told = kubectl("-n", NAMESPACE, "exec", POD, "--", "bash", "-c", script, timeout=600)
    began, ended = map(float, told.split())
    return ended - began


def _export(api: Api, fields: dict[str, Any], overheads: Overheads) -> float:
    posted = time.time()
    answer = api.export(project_id=PROJECT, **fields)
    job_id = answer.body["data"]["job_id"]

    def look() -> dict[str, Any] | None:
        job = api.job(job_id)
        return job if job["status"] in FINISHED else None

    # Seldom enough to leave the processors to the dump.
    job = wait_for(look, f"the end of job {job_id}", 600, every=0.1)
    seen = time.time()
    if job["status"] != "completed":
        raise RuntimeError(f"the export failed: {job['error']}")
    log = kubectl("-n", NAMESPACE, "logs", f"job/bex-{job_id}")
    times = {
        line["event"]: datetime.fromisoformat(line["time"]).timestamp()
        for line in map(json.loads, log.splitlines())
    }
    overheads.start.append(times["dump_started"] - posted)
    overheads.finish.append(seen - times["dump_finished"])
    return times["dump_finished"] - times["dump_started"]


def _start_bare_pod(connection: dict[str, str]) -> None:
    libpq = {
        "PGHOST": "host", "PGPORT": "port", "PGUSER": "username",
        "PGPASSWORD": "password", "PGDATABASE": "database",
    }  # fmt: skip
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD, "namespace": NAMESPACE},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {**POD_SECURITY, "runAsUser": 65532, "fsGroup": 65532},
                "containers": [
                    {
                        "name": "bare",
                        "image": images()["RUNNER_IMAGE"],
                        "command": ["sleep", "infinity"],
                        "env": [
                            {"name": name, "value": connection[key]} for name, key in libpq.items()
                        ],
                        "securityContext": CONTAINER_SECURITY,
                        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                    }
                ],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        }
    )
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=60s")


def _print(seconds: dict[str, list[float]], overheads: Overheads) -> None:
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"\n{'':<22}{'median':>9}{'min':>9}{'max':>9}{'of raw':>9}{'of gzip':>9}")
    for name, values in seconds.items():
        median = medians[name]
        print(
            f"{name:<22}{median:>8.2f}s{min(values):>8.2f}s{max(values):>8.2f}s"
            f"{medians[RAW] / median:>9.2f}{medians[GZIP] / median:>9.2f}"
        )
    start, finish = statistics.median(overheads.start), statistics.median(overheads.finish)
    print(f"\nfrom POST to pg_dump's start {start:.2f} s (max {max(overheads.start):.2f} s)")
    print(f"from pg_dump's end to completed {finish:.2f} s (max {max(overheads.finish):.2f} s)")
    zstd = medians["export, zstd"]
    print(
        f"bench: zstd_vs_raw={medians[RAW] / zstd:.3f} zstd_vs_gzip={medians[GZIP] / zstd:.3f} "
        f"start_s={start:.3f} finish_s={finish:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
