"""`make bench-download`: the API sending an export beside nginx sending the same file.

The file is the demo database's export.  The API runs as a process of the machine, against the
cluster's API server; nginx is one process, too, with sendfile.  They are read from in turn, one
at a time while the other idles, on the same processor; the reader has another one.  Two kinds of
reader: curl, and one that lets the kernel drop what comes, so that it never is what is waited
for.  The bench line has the latter's ratio.  Then twenty slow readers of a fresh API.
"""

import hashlib
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import measures
import nginx
from callers import Callers
from download_readers import Download, SlowReader, Source, curl, discard
from exported_file import ExportedFile, demo_export
from measures import Rounds
from playground.forward import free_port
from playground.processes import running, wait_until_served
from processors import cpu_seconds, idle_seconds, memory, pinned, processors

# Many short ones: what else the machine does then hits all alike.
ROUNDS = 15
SECONDS = 0.7
# A token's rate limit is the API's own; so many callers stay within it.
SUBJECTS = 50
# The server's, and the reader's.
PROCESSORS = processors()
API, NGINX = "API", "nginx"
READERS: dict[str, Callable[[Source], Download]] = {"discarding": discard, "curl": curl}
JUDGED = "discarding"

SLOW_READERS = 20
SLOW_SECONDS = 10.0
# 640 KiB/s each.
SLOW_PIECE, SLOW_PAUSE = 64 * 1024, 0.1

Asked = Callable[[], Source]


@dataclass
class Server:
    """A process that sends the file; `asked` gives the next request for it."""

    pid: int
    asked: Asked


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
    program = nginx.install()
    measured, generator = PROCESSORS
    with ExitStack() as stack:
        # Nginx is another user, who has to get at the file.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        root = folder / "exports"
        root.mkdir()
        export = demo_export(stack, root)
        _say(f"the file has {export.size / 1e6:.1f} MB")
        stack.enter_context(pinned(generator))
        with ExitStack() as servers:
            with pinned(measured):
                sent_by = {
                    NGINX: servers.enter_context(_nginx(program, export, folder / "nginx")),
                    API: servers.enter_context(_api(export, folder / "api.log")),
                }
            for name, server in sent_by.items():
                _check(name, server.asked(), export.sha256)
            ratio = _measure(sent_by)
        with pinned(measured):
            fresh = stack.enter_context(_api(export, folder / "fresh-api.log"))
        idle, slow = _measure_slow_readers(fresh)
    print(
        f"memory of the API: idle {idle:.1f} MiB, at most {slow:.1f} MiB "
        f"with {SLOW_READERS} slow readers"
    )
    print(measures.bench_line({"download_vs_nginx": ratio, "rss_20_slow_vs_idle": slow / idle}))
    return 0


@contextmanager
def _nginx(program: str, export: ExportedFile, folder: Path) -> Iterator[Server]:
    port = free_port()
    source = Source(port, f"/{export.path}", {}, export.size)
    with nginx.serving(program, export.root, export.path, port, folder) as process:
        yield Server(process.pid, lambda: source)


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
        wait_until_served(process, f"http://127.0.0.1:{port}/readyz", log)
        yield Server(process.pid, lambda: Source(port, path, callers.next_headers(), export.size))


def _check(name: str, source: Source, sha256: str) -> None:
    """See that the server sends the export and nothing else."""
    url = f"http://127.0.0.1:{source.port}{source.path}"
    request = urllib.request.Request(url, headers=dict(source.headers))
    with urllib.request.urlopen(request, timeout=30) as response:
        found = hashlib.file_digest(response, "sha256").hexdigest()
    if found != sha256:
        raise RuntimeError(f"{name} sends a file with SHA-256 {found}, not {sha256}")


def _measure(servers: dict[str, Server]) -> float:
    contenders = {
        f"{reader}: {name}": (server, READERS[reader])
        for reader in READERS
        for name, server in servers.items()
    }
    rounds = {name: Rounds() for name in contenders}
    work = {name: Work() for name in contenders}
    for turn in range(ROUNDS + 1):
        _say(f"round {turn}")
        order = list(contenders)
        # Every second round goes backwards, so that none is always first.
        for name in reversed(order) if turn % 2 else order:
            server, read = contenders[name]
            before = _clocks(server.pid)
            downloads = _read_on(server.asked, read)
            taken = [after - one for one, after in zip(before, _clocks(server.pid), strict=True)]
            # Round 0 only warms up.
            if turn:
                seconds = [download.seconds for download in downloads]
                size = sum(download.size for download in downloads)
                rounds[name].add(size / sum(seconds) / 1e6, seconds)
                work[name].add(size / 1e9, *taken)
    baselines = {name: f"{name.partition(':')[0]}: {NGINX}" for name in rounds}
    print(f"\n{ROUNDS} rounds of {SECONDS:g} s: median (min-max)")
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


def _read_on(asked: Asked, read: Callable[[Source], Download]) -> list[Download]:
    """Download after download, until the round's time is over."""
    deadline = time.perf_counter() + SECONDS
    downloads = []
    while time.perf_counter() < deadline:
        downloads.append(read(asked()))
    return downloads


def _measure_slow_readers(api: Server) -> tuple[float, float]:
    """MiB of the API before and at most while slow readers are in the middle of a download."""
    idle, most = memory(api.pid)[0], 0.0
    with ExitStack() as stack:
        readers = []
        for _ in range(SLOW_READERS):
            reader = SlowReader(api.asked())
            stack.callback(reader.close)
            readers.append(reader)
        deadline = time.perf_counter() + SLOW_SECONDS
        while time.perf_counter() < deadline:
            for reader in readers:
                reader.take(SLOW_PIECE)
            most = max(most, memory(api.pid)[0])
            time.sleep(SLOW_PAUSE)
        if not all(reader.is_in_the_middle for reader in readers):
            raise RuntimeError("the slow readers were not in the middle of their downloads")
    return idle, most


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
