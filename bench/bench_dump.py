"""`make bench-dump`: what an export costs beside a bare pg_dump of the same database.

In each round every contender dumps the database once, in turn, so that a slow moment of the
machine hits all of them, but gzip in every third round only; medians and their ratios are
printed.  Times of the runner are those of its pg_dump (from its own log), times of the others are
taken in their pod, with the same program.  What encryption and a bucket cost is the median of the
rounds' ratios, from pg_dump's start until the whole file is stored.
All dumps are as long to the byte, and each export is one Job that needed one attempt.
"""

import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import benchmark
from measures import MeasurementError, blamed_on, check_equal
from playground import demo_database
from playground.forward import forwarded
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY, Postgres
from playground.release import Release
from playground.rest import FINISHED, Api
from playground.s3_server import S3Pod, storage_secret
from playground.targets import make_target
from playground.tools import apply, get, images, kubectl, wait_for

PROJECT = "bench"
POD = "bare"

RAW = "pg_dump > /dev/null"
GZIP = "pg_dump | gzip -6"
ZSTD = "export, zstd"
AGE = "export, zstd, age"
# Nobody has its identity any more.
_RECIPIENT = "age1yvkl2sjkq8q2rven7ffnhumyy6xfwg9y7hz3sh6ygvfh6ckqpqpstf8luc"
BUCKET = "export, zstd, bucket"
_OF_BUCKET = "bench-bucket"
EXPORTS: dict[str, dict[str, Any]] = {
    ZSTD: {},
    AGE: {"encrypt_to": [_RECIPIENT]},
    BUCKET: {"project_id": _OF_BUCKET},
    "export, gzip": {"compression": "gzip"},
    "export, uncompressed": {"compress": False},
}
_SHARE = 0.25
# What the names of exports' Jobs begin with.
_JOB = "bex-"
_TIMED = 'began=$(date +%s.%N); {}; ended=$(date +%s.%N); echo "$began $ended"'
# What a gzip file ends with is the length of its content, modulo this.
_GZIP_LENGTHS = 2**32


@dataclass(frozen=True)
class Form:
    """How much is measured: rounds until the seconds are over, `least` to `most` of them.

    `rows`: of a small database; None for the demo's with a quarter of its rows, so that there is
    time for some rounds.
    """

    rows: int | None
    seconds: float
    least: int
    most: int


FULL = Form(rows=None, seconds=190, least=2, most=6)
SHORT = Form(rows=150_000, seconds=0, least=1, most=1)


@dataclass(frozen=True)
class Dumped:
    """What the log of an export's Job says about its pg_dump."""

    program: str
    began: float
    ended: float
    # When the whole file was stored.
    stored: float


@dataclass
class Measured:
    """Seconds of each contender's dumps, and those around an export's: before and after it.

    `stored`: those of each export's, until its file is stored.
    """

    dumps: dict[str, list[float]] = field(default_factory=dict)
    stored: dict[str, list[float]] = field(default_factory=dict)
    start: list[float] = field(default_factory=list)
    finish: list[float] = field(default_factory=list)


def main() -> int:
    """Print the table and the bench line."""
    return benchmark.run(_measure, full=FULL, short=SHORT)


def _measure(form: Form) -> Mapping[str, float]:
    with benchmark.own_namespace() as namespace:
        server, release, s3 = Postgres(namespace), Release(namespace), S3Pod(namespace)
        s3.start()
        apply(storage_secret(namespace, _OF_BUCKET, s3.owner))
        storages = {"bucket": s3.storage(_OF_BUCKET)}
        with ThreadPoolExecutor() as threads:
            values = {"storage": {"size": "20Gi", "keep": False}, "storages": storages}
            installed = threads.submit(release.install, values)
            server.start()
            _load(server, form.rows)
            connection = demo_database.exporter_connection(server)
            _start_bare_pod(namespace, connection)
            installed.result()
        make_target(namespace, PROJECT, connection)
        make_target(namespace, _OF_BUCKET, connection, storage="bucket")
        with forwarded(namespace, f"{release.name}-api") as url:
            measured = _Bench(namespace, url, release).rounds(form)
    return _figures(measured)


def _load(server: Postgres, rows: int | None) -> None:
    if rows is None:
        demo_database.load(server, share=_SHARE)
        return
    server.psql("CREATE DATABASE demo")
    roles, *_ = demo_database.files()
    server.psql_file(roles, "demo", "-v", f"exporter_password={secrets.token_urlsafe(24)}")
    server.psql(
        f"CREATE TABLE items AS SELECT n, repeat(md5(n::text), 4) AS text"
        f" FROM generate_series(1, {rows}) AS n",
        "demo",
    )


class _Bench:
    """The contenders of one namespace."""

    def __init__(self, namespace: str, url: str, release: Release) -> None:
        self._namespace, self._url, self._release = namespace, url, release
        self._jobs: list[str] = []
        # The runner's pg_dump and the length of what it writes, once the first export has said so.
        self._program, self._length = "", 0

    def rounds(self, form: Form) -> Measured:
        """Measure round after round, after one that only warms the caches."""
        self._warm_up()
        measured = Measured()
        began = time.monotonic()
        last = 0.0
        for turn in range(form.most):
            round_began = time.monotonic()
            # Not one that would end late.
            if turn >= form.least and round_began - began + last > form.seconds:
                break
            for name, contender in self._contenders(turn, measured).items():
                with blamed_on(name):
                    taken = contender()
                benchmark.say(f"round {turn + 1}: {name}: {taken:.2f} s")
                measured.dumps.setdefault(name, []).append(taken)
            last = time.monotonic() - round_began
        self._check_jobs()
        return measured

    def _contenders(self, turn: int, measured: Measured) -> dict[str, Callable[[], float]]:
        # A caller of its own for each round, because of the rate limit.
        api = Api(self._url, self._release.token(f"bench-{turn}", "--all-projects"))
        contenders: dict[str, Callable[[], float]] = {RAW: self._raw}
        # As slow as all others together, and so the steadiest.
        if turn % 3 == 0:
            contenders[GZIP] = self._gzip
        for name, fields in EXPORTS.items():
            contenders[name] = partial(self._export, api, name, fields, measured)
        return contenders

    def _warm_up(self) -> None:
        """An export and a bare dump, to see that they are the same work."""
        with blamed_on(ZSTD):
            api = Api(self._url, self._release.token("bench-warm-up", "--all-projects"))
            self._export(api, ZSTD, {}, Measured())
        with blamed_on(RAW):
            dumped = int(self._bare(f"{self._program} --format=plain | wc -c"))
            check_equal("bytes of a bare dump beside the export's", dumped, self._length)

    def _raw(self) -> float:
        return self._timed(f"{self._program} --format=plain > /dev/null")

    def _gzip(self) -> float:
        taken = self._timed(f"{self._program} --format=plain | gzip -6 > /scratch/dump.gz")
        listed = self._bare("gzip --list --quiet /scratch/dump.gz")
        length = int(listed.split()[1]) % _GZIP_LENGTHS
        check_equal("bytes in the file", length, self._length % _GZIP_LENGTHS)
        return taken

    def _timed(self, pipeline: str) -> float:
        began, ended = map(float, self._bare(_TIMED.format(pipeline)).split())
        return ended - began

    def _bare(self, script: str) -> str:
        script = f"set -e -o pipefail; {script}"
        command = ("exec", POD, "--", "bash", "-c", script)
        return kubectl("-n", self._namespace, *command, timeout=600)

    def _export(self, api: Api, name: str, fields: dict[str, Any], measured: Measured) -> float:
        posted = time.time()
        answer = api.export(**{"project_id": PROJECT, **fields})
        check_equal(f"the status of a POST ({answer.body})", answer.status, 202)
        job_id = answer.body["data"]["job_id"]

        def look() -> dict[str, Any] | None:
            job = api.job(job_id)
            return job if job["status"] in FINISHED else None

        # Seldom enough to leave the processors to the dump.
        job = wait_for(look, f"the end of job {job_id}", 600, every=0.1)
        seen = time.time()
        check_equal(f"the status of the job ({job['error']})", job["status"], "completed")
        job_name = f"{_JOB}{job_id}"
        dumped = read_log(kubectl("-n", self._namespace, "logs", f"job/{job_name}"))
        self._jobs.append(job_name)
        self._check_same(dumped.program, job["artifact"])
        measured.start.append(dumped.began - posted)
        measured.finish.append(seen - dumped.ended)
        measured.stored.setdefault(name, []).append(dumped.stored - dumped.began)
        return dumped.ended - dumped.began

    def _check_same(self, program: str, artifact: dict[str, Any]) -> None:
        if not self._program:
            self._program, self._length = program, artifact["uncompressed_bytes"]
        check_equal("the runner's pg_dump", program, self._program)
        check_equal("bytes of the dump", artifact["uncompressed_bytes"], self._length)

    def _check_jobs(self) -> None:
        """See that each export was one Job of one pod, which succeeded, and no other is there."""

        def ended() -> dict[str, tuple[int, int]] | None:
            found = {
                job["metadata"]["name"]: job["status"]
                for job in get("-n", self._namespace, "jobs")["items"]
                if job["metadata"]["name"].startswith(_JOB)
            }
            if any("completionTime" not in status for status in found.values()):
                return None
            return {
                name: (status.get("succeeded", 0), status.get("failed", 0))
                for name, status in found.items()
            }

        # Jobs are called complete a little later than their exports.
        pods = wait_for(ended, "the end of all Jobs", 60)
        check_equal("pods that succeeded and failed", pods, dict.fromkeys(self._jobs, (1, 0)))


def read_log(log: str) -> Dumped:
    """The one pg_dump of an export; MeasurementError where there is none, two, or a failure."""
    lines = [json.loads(line) for line in log.splitlines()]
    started = [line for line in lines if line["event"] == "dump_started"]
    finished = [line for line in lines if line["event"] == "dump_finished"]
    ended = [line["exit_status"] for line in finished]
    if len(started) != 1 or ended != [0]:
        raise MeasurementError(f"{len(started)} dumps began and ended with {ended}:\n{log}")
    stored = [line for line in lines if line["event"] == "completed"][:1]
    if not stored:
        raise MeasurementError(f"no file was stored:\n{log}")
    times = (
        datetime.fromisoformat(line["time"]).timestamp() for line in (*started, *finished, *stored)
    )
    return Dumped(started[0]["program"], *times)


def _start_bare_pod(namespace: str, connection: dict[str, str]) -> None:
    libpq = {
        "PGHOST": "host", "PGPORT": "port", "PGUSER": "username",
        "PGPASSWORD": "password", "PGDATABASE": "database",
    }  # fmt: skip
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD, "namespace": namespace},
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
    kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=60s")


def _figures(measured: Measured) -> dict[str, float]:
    """Print the table."""
    medians = {name: statistics.median(values) for name, values in measured.dumps.items()}
    rounds = len(measured.dumps[RAW])
    print(
        f"\n{f'rounds: {rounds}':<22}{'median':>9}{'min':>9}{'max':>9}{'of raw':>9}{'of gzip':>9}"
    )
    for name, values in measured.dumps.items():
        median = medians[name]
        print(
            f"{name:<22}{median:>8.2f}s{min(values):>8.2f}s{max(values):>8.2f}s"
            f"{medians[RAW] / median:>9.2f}{medians[GZIP] / median:>9.2f}"
        )
    start, finish = statistics.median(measured.start), statistics.median(measured.finish)
    print(f"\nfrom POST to pg_dump's start {start:.2f} s (max {max(measured.start):.2f} s)")
    print(f"from pg_dump's end to completed {finish:.2f} s (max {max(measured.finish):.2f} s)")
    stored = {name: statistics.median(values) for name, values in measured.stored.items()}
    print(
        f"from pg_dump's start to a stored file: volume {stored[ZSTD]:.2f} s, "
        f"encrypted {stored[AGE]:.2f} s, bucket {stored[BUCKET]:.2f} s"
    )
    return {
        "zstd_vs_raw": medians[RAW] / medians[ZSTD],
        "zstd_vs_gzip": medians[GZIP] / medians[ZSTD],
        "age_vs_plain": _of_plain(measured.stored, AGE),
        "s3_vs_volume": _of_plain(measured.stored, BUCKET),
        "start_s": start,
        "finish_s": finish,
    }


def _of_plain(stored: Mapping[str, list[float]], name: str) -> float:
    """The speed, of that of the export before it: the machine's changes between rounds."""
    rounds = zip(stored[ZSTD], stored[name], strict=True)
    return statistics.median(plain / other for plain, other in rounds)


if __name__ == "__main__":
    sys.exit(main())
