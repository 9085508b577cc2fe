"""`make bench-download`: the API sending an export beside nginx sending the same file.

The file is made up, and so is the finished export that it is of.  The API runs as a process of
the machine, against the cluster's API server; nginx is one process, too, with sendfile.  They are
read from in turn, one at a time while the other idles, on the same processor; the reader has
another one.  Two kinds of reader: curl, and one that lets the kernel drop what comes, so that it
never is what is waited for.  The bench line has the latter's ratio.  Then twenty slow readers of a
fresh API.  Each download is whole, and either server has sent as many as were read.
"""

import hashlib
import os
import re
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import benchmark
import many_exports
import measures
import nginx
from download_readers import Download, SlowReader, Source, curl, discard
from load_client import Callers
from measures import MeasurementError, Rounds, blamed_on, check_equal
from playground.forward import free_port
from playground.processes import running, wait_until_served
from playground.release import ensure_crds
from playground.tools import NeverHappenedError, wait_for
from processors import cpu_seconds, idle_seconds, memory, pinned, processors

# A token's rate limit is the API's own; so many callers stay within it.
SUBJECTS = 50
# The server's, and the reader's.
PROCESSORS = processors()
API, NGINX = "API", "nginx"
READERS: dict[str, Callable[[Source], Download]] = {"discarding": discard, "curl": curl}
JUDGED = "discarding"

SLOW_READERS = 20
# 640 KiB/s each.
SLOW_PIECE, SLOW_PAUSE = 64 * 1024, 0.1

_PIECE = 1024 * 1024
_SENT = re.compile(r"^backupexport_download_sent_bytes_total (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Form:
    """How much is measured: rounds, of so many seconds for each contender."""

    mebibytes: int
    # Many short ones: what else the machine does then hits all alike.
    rounds: int
    seconds: float
    slow_seconds: float


FULL = Form(mebibytes=256, rounds=15, seconds=0.7, slow_seconds=10.0)
SHORT = Form(mebibytes=32, rounds=1, seconds=0.2, slow_seconds=1.0)


@dataclass(frozen=True)
class ExportedFile:
    """A finished export, and where its file is on this machine, below `root`."""

    namespace: str
    job_id: str
    root: Path
    path: str
    size: int
    sha256: str


Asked = Callable[[], Source]


@dataclass
class Server:
    """A process that sends the file.

    `asked` gives the next request for it, `sent` tells how many whole files it says it has sent.
    """

    pid: int
    asked: Asked
    sent: Callable[[], float]


@dataclass
class Work:
    """All rounds together: their seconds, and those of the processors.

    What the kernel does for a connection is nobody's time, but no idling either.
    """

    gigabytes: float = 0.0
    seconds: float = 0.0
    server_cpu: float = 0.0
    server_side_idle: float = 0.0
    reader_side_idle: float = 0.0

    def add(self, gigabytes: float, seconds: float, cpu: float, *idle: float) -> None:
        """Take in a round; `idle` are the seconds of the server's processor and the reader's."""
        self.gigabytes += gigabytes
        self.seconds += seconds
        self.server_cpu += cpu
        self.server_side_idle += idle[0]
        self.reader_side_idle += idle[1]


def main() -> int:
    """Print the table and the bench line."""
    return benchmark.run(_measure, full=FULL, short=SHORT)


def _measure(form: Form) -> Mapping[str, float]:
    program = nginx.install()
    ensure_crds()
    measured, generator = PROCESSORS
    with ExitStack() as stack:
        # Nginx is another user, who has to get at the file.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        namespace = stack.enter_context(benchmark.own_namespace())
        export = _made_up_export(namespace, folder / "exports", form.mebibytes)
        stack.enter_context(pinned(generator))
        with ExitStack() as servers:
            with pinned(measured):
                sent_by = {
                    NGINX: servers.enter_context(_nginx(program, export, folder / "nginx")),
                    API: servers.enter_context(_api(export, folder / "api.log")),
                }
            ratio = _measure_rounds(form, sent_by, export.sha256)
        with pinned(measured):
            fresh = stack.enter_context(_api(export, folder / "fresh-api.log"))
        idle, slow = _measure_slow_readers(form, fresh)
    print(
        f"memory of the API: idle {idle:.1f} MiB, at most {slow:.1f} MiB "
        f"with {SLOW_READERS} slow readers"
    )
    return {"download_vs_nginx": ratio, "rss_20_slow_vs_idle": slow / idle}


def _made_up_export(namespace: str, root: Path, mebibytes: int) -> ExportedFile:
    """Write a file that compresses no further, and the export that it would be of."""
    project = many_exports.PROJECTS[0]
    many_exports.make_targets(namespace, [project])
    export = many_exports.create(namespace, project)
    path, size = many_exports.artifact_path(*export), mebibytes * _PIECE
    file, digest = root / path, hashlib.sha256()
    file.parent.mkdir(parents=True)
    with file.open("wb") as stream:
        for _ in range(mebibytes):
            piece = os.urandom(_PIECE)
            digest.update(piece)
            stream.write(piece)
    sha256 = digest.hexdigest()
    many_exports.end_well(namespace, export, size, sha256)
    return ExportedFile(namespace, export.job_id, root, path, size, sha256)


@contextmanager
def _nginx(program: str, export: ExportedFile, folder: Path) -> Iterator[Server]:
    port = free_port()
    source = Source(port, f"/{export.path}", {}, export.size)
    with nginx.serving(program, export.root, export.path, port, folder) as process:
        # Whoever waited for it to serve has left in the middle of the file.
        yield Server(process.pid, lambda: source, lambda: nginx.sent(folder, export.size))


@contextmanager
def _api(export: ExportedFile, log: Path) -> Iterator[Server]:
    port, secret = free_port(), secrets.token_urlsafe(48)
    settings = {
        "BACKUPEXPORT_NAMESPACE": export.namespace,
        "BACKUPEXPORT_JWT_SECRET": secret,
        "BACKUPEXPORT_HOST": "127.0.0.1",
        "BACKUPEXPORT_PORT": str(port),
        "BACKUPEXPORT_EXPORTS_DIRECTORY": str(export.root),
        # As in the cluster: the log is a part of the price.
        "BACKUPEXPORT_LOG_FORMAT": "json",
    }
    callers = Callers(secret, SUBJECTS)
    path = f"/api/jobs/{export.job_id}/download"
    with running("-m", "backupexport_api", settings=settings, log=log) as process:
        with blamed_on(API):
            wait_until_served(process, f"http://127.0.0.1:{port}/readyz", log)
        yield Server(
            process.pid,
            lambda: Source(port, path, callers.next_headers(), export.size),
            lambda: _sent(port) / export.size,
        )


def _sent(port: int) -> float:
    """The bytes that the API says it has sent: curl is gone before it has told a download's end."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        found = _SENT.search(response.read().decode())
    if found is None:
        raise MeasurementError("the API's metrics don't count what it sends")
    return float(found[1])


def _check(source: Source, sha256: str) -> None:
    """See that the server sends the export and nothing else."""
    url = f"http://127.0.0.1:{source.port}{source.path}"
    request = urllib.request.Request(url, headers=dict(source.headers))
    with urllib.request.urlopen(request, timeout=30) as response:
        found = hashlib.file_digest(response, "sha256").hexdigest()
    check_equal("SHA-256 of what it sends", found, sha256)


def _check_sent(server: Server, count: int) -> None:
    """See that the server has sent as many files as were read."""
    with suppress(NeverHappenedError):
        # Servers count a download a little after its last byte.
        wait_for(lambda: server.sent() >= count, "the end of all downloads", 10)
    check_equal("downloads that it says it has sent", server.sent(), count)


def _measure_rounds(form: Form, servers: dict[str, Server], sha256: str) -> float:
    contenders = {
        f"{reader}: {name}": (name, READERS[reader]) for reader in READERS for name in servers
    }
    rounds = {name: Rounds() for name in contenders}
    work = {name: Work() for name in contenders}
    downloaded = dict.fromkeys(servers, 1)
    for name, server in servers.items():
        with blamed_on(name):
            _check(server.asked(), sha256)
    for turn in range(form.rounds + 1):
        benchmark.say(f"round {turn}")
        order = list(contenders)
        # Every second round goes backwards, so that none is always first.
        for name in reversed(order) if turn % 2 else order:
            whose, read = contenders[name]
            server = servers[whose]
            before = _clocks(server.pid)
            with blamed_on(name):
                downloads = _read_on(server.asked, read, form.seconds)
            taken = [after - one for one, after in zip(before, _clocks(server.pid), strict=True)]
            downloaded[whose] += len(downloads)
            # Round 0 only warms up.
            if turn:
                seconds = [download.seconds for download in downloads]
                size = sum(download.size for download in downloads)
                rounds[name].add(size / sum(seconds) / 1e6, seconds)
                work[name].add(size / 1e9, *taken)
    for name, server in servers.items():
        with blamed_on(name):
            _check_sent(server, downloaded[name])
    baselines = {name: f"{name.partition(':')[0]}: {NGINX}" for name in rounds}
    print(f"\n{form.rounds} rounds of {form.seconds:g} s: median (min-max)")
    print(measures.table(rounds, baselines, "of nginx", "MB/s"))
    if measures.unsteady(rounds):
        print("UNSTEADY, don't trust the ratios: the machine was busy")
    for name, done in work.items():
        print(
            f"{name}: a GB took the server {done.server_cpu / done.gigabytes:.2f} s of its "
            f"processor, which idled for {done.server_side_idle / done.seconds:.0%} of the time; "
            f"the reader's idled for {done.reader_side_idle / done.seconds:.0%}"
        )
    return rounds[f"{JUDGED}: {API}"].rate / rounds[f"{JUDGED}: {NGINX}"].rate


def _clocks(pid: int) -> tuple[float, ...]:
    return (time.perf_counter(), cpu_seconds(pid), *(idle_seconds(one) for one in PROCESSORS))


def _read_on(
    asked: Asked, read: Callable[[Source], Download], round_seconds: float
) -> list[Download]:
    """Download after download, until the round's time is over."""
    deadline = time.perf_counter() + round_seconds
    downloads = []
    while time.perf_counter() < deadline:
        downloads.append(read(asked()))
    return downloads


def _measure_slow_readers(form: Form, api: Server) -> tuple[float, float]:
    """MiB of the API before and at most while slow readers are in the middle of a download."""
    idle, most = memory(api.pid)[0], 0.0
    with ExitStack() as stack:
        readers = []
        for _ in range(SLOW_READERS):
            reader = SlowReader(api.asked())
            stack.callback(reader.close)
            readers.append(reader)
        deadline = time.perf_counter() + form.slow_seconds
        while time.perf_counter() < deadline:
            for reader in readers:
                reader.take(SLOW_PIECE)
            most = max(most, memory(api.pid)[0])
            time.sleep(SLOW_PAUSE)
        if not all(reader.is_in_the_middle for reader in readers):
            raise MeasurementError("the slow readers were not in the middle of their downloads")
    return idle, most


if __name__ == "__main__":
    sys.exit(main())
