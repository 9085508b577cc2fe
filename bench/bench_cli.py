"""`make bench-cli`: a download by the command line beside curl's, a list of 200 jobs, and --help.

All is on loopback and needs no cluster.  A small stand-in of the api answers for jobs and sends
downloads on to an nginx, as the api does with a bucket's; curl asks that nginx itself.  Both write
into the same folder, in turn, each file anew.

The bench line's ratio is of the download alone, checksum and fsync with it, in a memory file system
where there is one: there curl, which has neither, is not ahead by what the disk still owes it.  The
same on the disk is told beside a curl that is followed by sync, and so is the whole command, whose
start counts too.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import measures
import nginx
from backupexport_cli.files.download import download
from backupexport_cli.output.console import Output
from backupexport_cli.service.http import ApiHttp, GivenToken
from backupexport_cli.service.rest import RestExports
from measures import Rounds, blamed_on, check_equal
from playground.forward import free_port

JOBS = 200
_MEMORY = Path("/dev/shm")
_PIECE = 1024 * 1024
_LATEST = 60.0


@dataclass(frozen=True)
class Form:
    """How much is measured."""

    mebibytes: int
    rounds: int
    starts: int


FULL = Form(mebibytes=512, rounds=9, starts=15)
SHORT = Form(mebibytes=32, rounds=1, starts=1)

Fetch = Callable[[Path], None]


@dataclass(frozen=True)
class Served:
    """The stand-in of the api, and the file behind it."""

    url: str
    file_url: str
    job: dict[str, Any]
    size: int


def main() -> int:
    """Print the tables and the bench line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="small numbers, to see that it runs")
    form = SHORT if parser.parse_args().short else FULL
    began = time.monotonic()
    with ExitStack() as stack:
        # Nginx is another user, who has to get at the file.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        served = stack.enter_context(_serving(folder, form.mebibytes))
        memory = stack.enter_context(_folder_in(_MEMORY if _MEMORY.is_dir() else folder))
        disk = stack.enter_context(_folder_in(folder))
        ratio = _measure_downloads(form, served, memory, disk)
        jobs_seconds = _seconds(form.starts, served, "jobs", "--limit", str(JOBS))
    help_seconds = _seconds(form.starts, None, "--help")
    print(f"\n{JOBS} jobs listed in {jobs_seconds:.2f} s, --help in {help_seconds:.2f} s: medians")
    print(f"\nit took {time.monotonic() - began:.0f} s")
    figures = {
        "download_vs_curl": ratio,
        "jobs_200_seconds": jobs_seconds,
        "help_seconds": help_seconds,
    }
    print(measures.bench_line(figures), flush=True)
    return 0


def _measure_downloads(form: Form, served: Served, memory: Path, disk: Path) -> float:
    with _rest(served) as rest:
        output = Output(quiet=True)

        def fetched(target: Path) -> None:
            options: dict[str, Any] = {"connections": None, "identities": [], "output": output}
            download(rest, served.job, target, **options)

        contenders: dict[str, tuple[Path, Fetch]] = {
            "curl": (memory, lambda target: _curl(served, target)),
            "backupexport": (memory, fetched),
            "curl and sync, disk": (disk, lambda target: _synced_curl(served, target)),
            "backupexport, disk": (disk, fetched),
            "the command": (memory, lambda target: _command(served, target)),
        }
        rounds = {name: Rounds() for name in contenders}
        for turn in range(form.rounds + 1):
            order = list(contenders)
            # Every second round goes backwards, so that none is always first.
            for name in reversed(order) if turn % 2 else order:
                folder, fetch = contenders[name]
                seconds = _timed(fetch, folder / "file", served, name)
                # Round 0 only warms up.
                if turn:
                    rounds[name].add(served.size / seconds / 1e6, [seconds])
    baselines = dict.fromkeys(rounds, "curl") | {
        name: "curl and sync, disk" for name in rounds if name.endswith("disk")
    }
    print(f"\n{form.rounds} rounds of {form.mebibytes} MiB: median (min-max)")
    print(measures.table(rounds, baselines, "of curl", "MB/s"))
    if measures.unsteady({name: rounds[name] for name in ("curl", "backupexport")}):
        print("UNSTEADY, don't trust the ratios: the machine was busy")
    return rounds["backupexport"].rate / rounds["curl"].rate


def _timed(fetch: Fetch, target: Path, served: Served, name: str) -> float:
    target.unlink(missing_ok=True)
    with blamed_on(name):
        began = time.perf_counter()
        fetch(target)
        seconds = time.perf_counter() - began
    with target.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    check_equal(f"SHA-256 of what {name} has fetched", found, served.job["artifact"]["sha256"])
    target.unlink()
    return seconds


def _curl(served: Served, target: Path) -> None:
    command = ["curl", "--silent", "--show-error", "--fail", "--output", str(target)]
    command.append(served.file_url)
    subprocess.run(command, check=True)


def _synced_curl(served: Served, target: Path) -> None:
    _curl(served, target)
    subprocess.run(["sync", target], check=True)


def _command(served: Served, target: Path) -> None:
    _run(served, "download", served.job["job_id"], str(target))


def _seconds(starts: int, served: Served | None, *arguments: str) -> float:
    seconds = []
    for _ in range(starts + 1):
        began = time.perf_counter()
        _run(served, *arguments)
        seconds.append(time.perf_counter() - began)
    # The first one reads what the others find in memory.
    return statistics.median(seconds[1:])


def _run(served: Served | None, *arguments: str) -> None:
    environment = {**os.environ, "BACKUPEXPORT_TOKEN": "any"}
    if served is not None:
        environment["BACKUPEXPORT_URL"] = served.url
    subprocess.run(
        [sys.executable, "-m", "backupexport_cli", "--quiet", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        timeout=_LATEST,
        check=True,
    )


@contextmanager
def _rest(served: Served) -> Iterator[RestExports]:
    http = ApiHttp(served.url, GivenToken("any"))
    yield RestExports(http)
    http.close()


@contextmanager
def _folder_in(parent: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


@contextmanager
def _serving(folder: Path, mebibytes: int) -> Iterator[Served]:
    (folder / "www").mkdir()
    size, sha256 = _made_up_file(folder / "www" / "file", mebibytes)
    jobs = [_job(number, size, sha256) for number in range(JOBS)]
    port = free_port()
    file_url = f"http://127.0.0.1:{port}/file"
    with (
        nginx.serving(nginx.install(), folder / "www", "file", port, folder / "nginx"),
        _answering(jobs, file_url) as url,
    ):
        yield Served(url, file_url, jobs[0], size)


def _made_up_file(path: Path, mebibytes: int) -> tuple[int, str]:
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for _ in range(mebibytes):
            # It compresses no further.
            piece = os.urandom(_PIECE)
            digest.update(piece)
            stream.write(piece)
    return mebibytes * _PIECE, digest.hexdigest()


def _job(number: int, size: int, sha256: str) -> dict[str, Any]:
    job_id = f"{number:08x}-0000-4000-8000-000000000000"
    patterns = ("include_schemas", "exclude_schemas", "include_tables", "exclude_tables")
    lists = (*patterns, "exclude_table_data", "warnings", "restore_hints", "deliveries")
    return {
        "job_id": job_id,
        "status": "completed",
        "project_id": f"project-{number % 20}",
        "created_at": "2026-01-29T15:30:00.000Z",
        "started_at": "2026-01-29T15:30:01.000Z",
        "completed_at": "2026-01-29T15:32:00.000Z",
        "format": "sql",
        "content": "all",
        **{name: [] for name in lists},
        "owner": True,
        "privileges": True,
        "compress": True,
        "compression": "zstd",
        "artifact": {
            "path": f"project-{number % 20}/20260129T153000Z-{job_id}.sql.zst",
            "size_bytes": size,
            "uncompressed_bytes": size,
            "sha256": sha256,
            "server_version": "17.5",
            "dump_version": "17.6",
        },
    }


@contextmanager
def _answering(jobs: list[dict[str, Any]], file_url: str) -> Iterator[str]:
    """Stand in for the api; yield its address."""
    listed = json.dumps({"data": jobs, "next_cursor": None}).encode()
    single = {job["job_id"]: json.dumps({"data": job}).encode() for job in jobs}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            is_download = path.endswith("/download")
            body = b"" if is_download else single.get(path.rpartition("/")[2], listed)
            self.send_response(307 if is_download else 200)
            if is_download:
                self.send_header("Location", file_url)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
