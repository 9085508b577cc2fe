"""`make bench-cli`: a download by the command line beside curl's, a list of 200 jobs, and --help.

All is on loopback and needs no cluster.  A small stand-in of the api answers for jobs and sends
downloads on to an nginx, as the api does with a bucket's.  curl does what a person does with it:
`curl --fail -L -o FILE`, with the token.  All write the same file into the same folder, on a disk,
in turn, each anew, and what is timed is the whole process, its start with it: curl's is over in
10 ms, ours takes half a second or more, so the file is as large as one for which a person waits.

`backupexport download` checks the SHA-256 while the bytes come, and it waits for the disk, which
curl leaves to the system: with that it is compared with a curl that is followed by sync
(download_vs_curl_synced), without it (nothing of ours speaks with the disk then) with curl alone
(download_vs_curl).  The table has what a checksum afterwards costs curl, too.
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
from local_cluster.layout import cache_directory
from measures import Rounds, blamed_on, check_equal
from playground.forward import free_port

JOBS = 200
_TOKEN = "any"
_STARTS = "import os, sys\n{}\nfrom backupexport_cli.__main__ import main\nsys.exit(main())"
# Neither does curl begin with the disk's part.
_NO_DISK = "os.fsync = lambda _: None; os.posix_fadvise = lambda *_: None"
_PIECE = 1024 * 1024
_LATEST = 60.0


@dataclass(frozen=True)
class Form:
    """How much is measured."""

    mebibytes: int
    rounds: int
    starts: int
    seconds: float
    """After so many no more rounds begin."""


FULL = Form(mebibytes=2048, rounds=9, starts=9, seconds=120)
SHORT = Form(mebibytes=512, rounds=1, starts=2, seconds=1)

_CURL = "curl"
_CURL_SUMMED = "curl, sha256sum"
_CURL_SYNCED = "curl, sync"
_OURS = "backupexport"
_OURS_UNSYNCED = "backupexport, no disk"

Fetch = Callable[[Path], None]


@dataclass(frozen=True)
class Served:
    """The stand-in of the api, and the file behind it."""

    url: str
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
        # These come first: what all commands load is in memory then.
        jobs_seconds = _seconds(form.starts, served, "jobs", "--limit", str(JOBS))
        rounds = _measure_downloads(form, served, folder / "downloaded")
    help_seconds = _seconds(form.starts, None, "--help")
    print(f"\n{JOBS} jobs listed in {jobs_seconds:.2f} s, --help in {help_seconds:.2f} s: medians")
    print(f"\nit took {time.monotonic() - began:.0f} s")
    figures = {
        "jobs_200_seconds": jobs_seconds,
        "help_seconds": help_seconds,
        "download_vs_curl_synced": rounds[_OURS].rate / rounds[_CURL_SYNCED].rate,
        "download_vs_curl": rounds[_OURS_UNSYNCED].rate / rounds[_CURL].rate,
    }
    print(measures.bench_line(figures), flush=True)
    return 0


def _measure_downloads(form: Form, served: Served, target: Path) -> dict[str, Rounds]:
    contenders: dict[str, Fetch] = {
        _CURL: lambda path: _curl(served, path),
        _OURS_UNSYNCED: lambda path: _download(served, path, _NO_DISK),
        _CURL_SUMMED: lambda path: _curl(served, path, "sha256sum"),
        _CURL_SYNCED: lambda path: _curl(served, path, "sync"),
        _OURS: lambda path: _download(served, path),
    }
    rounds = {name: Rounds() for name in contenders}
    began = time.monotonic()
    turn = 0
    while turn < form.rounds and (turn == 0 or time.monotonic() - began < form.seconds):
        # The two that end without the disk are short, so there are more of them.
        order = [_CURL, _OURS_UNSYNCED, _OURS_UNSYNCED, _CURL]
        if turn % 3 == 0:
            order += [_CURL_SYNCED, _OURS]
        if turn == 0:
            # sha256sum alone takes longer than all else.
            order.append(_CURL_SUMMED)
        for name in order:
            # The checksum is looked at once.
            is_read = not rounds[name].rates
            seconds = _timed(contenders[name], target, name, served, is_read=is_read)
            rounds[name].add(served.size / seconds / 1e6, [seconds])
        turn += 1
    print(f"\n{turn} rounds of {form.mebibytes} MiB, whole processes: median (min-max)")
    print(measures.table(rounds, dict.fromkeys(rounds, _CURL), "of curl", "MB/s"))
    disk_ms = rounds[_OURS].p50 - rounds[_OURS_UNSYNCED].p50
    print(f"waiting for the disk takes backupexport {disk_ms:.0f} ms more")
    if measures.unsteady(rounds):
        print("UNSTEADY, don't trust the ratios: the machine was busy")
    return rounds


def _timed(
    fetch: Fetch, target: Path, name: str, served: Served, *, is_read: bool = False
) -> float:
    with blamed_on(name):
        began = time.perf_counter()
        fetch(target)
        seconds = time.perf_counter() - began
    check_equal(f"size of what {name} has fetched", target.stat().st_size, served.size)
    if is_read:
        with target.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        expected = served.job["artifact"]["sha256"]
        check_equal(f"SHA-256 of what {name} has fetched", found, expected)
    target.unlink()
    return seconds


def _curl(served: Served, target: Path, then: str | None = None) -> None:
    """Fetch it, and run a program over it afterwards."""
    command = ["curl", "--silent", "--show-error", "--fail", "-L", "-o", str(target)]
    command += ["-H", f"Authorization: Bearer {_TOKEN}"]
    command.append(f"{served.url}/api/jobs/{served.job['job_id']}/download")
    subprocess.run(command, check=True)
    if then is not None:
        subprocess.run([then, target], stdout=subprocess.DEVNULL, check=True)


def _download(served: Served, target: Path, before: str = "") -> None:
    _run(served, "download", served.job["job_id"], str(target), before=before)


def _seconds(starts: int, served: Served | None, *arguments: str) -> float:
    seconds = []
    for _ in range(starts + 1):
        began = time.perf_counter()
        _run(served, *arguments)
        seconds.append(time.perf_counter() - began)
    # The first one reads what the others find in memory.
    return statistics.median(seconds[1:])


def _run(served: Served | None, *arguments: str, before: str = "") -> None:
    environment = {**os.environ, "BACKUPEXPORT_TOKEN": _TOKEN}
    # An installed command finds its bytecode, and so do these, from the second start on.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(cache_directory() / "bench-cli-bytecode")
    if served is not None:
        environment["BACKUPEXPORT_URL"] = served.url
    subprocess.run(
        [sys.executable, "-c", _STARTS.format(before), "--quiet", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        timeout=_LATEST,
        check=True,
    )


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
        yield Served(url, jobs[0], size)


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
