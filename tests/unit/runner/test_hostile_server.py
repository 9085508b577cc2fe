"""Servers that mean no good: the runner ends in time, in little memory, with a reason."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import hostile_server as servers
import pytest
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres.preflight import look_at_server
from hostile_server import Hostile, listening
from process_tree import descendants, is_alive, resident_bytes
from runner_bench import Bench
from runner_process import GRACE_SECONDS, start, wait_for

Environment = Callable[..., dict[str, str]]

# Limits that a server is to reach, and one that a busy machine doesn't reach.
SHORT_ANSWER, SHORT, LONG = 1, 4, 300
# What all of a runner may take on a busy machine.
PATIENCE = 90
MOST_MEGABYTES = 160
DUMPS = "echo 'one row'"
FAILS = "echo 'pg_dump: error: FEHLER: keine Berechtigung' >&2; exit 1"

BEFORE_LOGIN = [
    servers.ScramForEver,
    servers.NoticesBeforeLogin,
    servers.ParametersForEver,
    servers.TrickleBeforeLogin,
]
ANSWERS = [
    servers.CopyOut,
    servers.CopyIn,
    servers.CopyBoth,
    servers.NoticesForEver,
    servers.ResultsForEver,
    servers.EmptyResultsForEver,
    servers.TrickledAnswer,
    servers.RowWithoutEnd,
    servers.RowsWithoutEnd,
    servers.WideRowsWithoutEnd,
    servers.ManyColumns,
    servers.LongError,
    servers.LargeNumbers,
    servers.LargeSizes,
    servers.TooManySizes,
]


@dataclass(frozen=True)
class Ended:
    exit_code: int
    message: str
    log: str


class Largest(threading.Thread):
    """The most that a process and its children have in memory together, until it is reaped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._pid = pid
        self.start()

    def run(self) -> None:
        while is_alive(self._pid):
            pids = [self._pid, *descendants(self._pid)]
            self.bytes = max(self.bytes, sum(map(resident_bytes, pids)))
            time.sleep(0.02)


def run(
    bench: Bench,
    environment: Environment,
    trick: type[Hostile],
    seconds: int = LONG,
    answer_seconds: int = LONG,
) -> Ended:
    """Runs an export from `trick`; fails where it takes long or much memory."""
    with listening(trick) as port:
        process = start(bench, values(environment, port, seconds, answer_seconds))
        largest = Largest(process.pid)
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            largest.join()
    assert largest.bytes < MOST_MEGABYTES * 1024**2, f"{largest.bytes / 1024**2:.0f} MB"
    assert errors == ""
    assert len(output) < 400_000
    message = protocol.read_outcome((bench.root / "termination").read_text()).message
    return Ended(process.returncode, message or "", output)


def values(
    environment: Environment, port: int, seconds: int = LONG, answer_seconds: int = LONG
) -> dict[str, str]:
    """The whole preflight's limit, and that of an answer."""
    return environment(
        TEST_SECONDS=str(seconds),
        TEST_ANSWER_SECONDS=str(answer_seconds),
        **{
            "secret:host": "127.0.0.1",
            "secret:port": str(port),
            protocol.ENV_CONNECTION["sslmode"]: "disable",
        },
    )


@pytest.mark.parametrize("trick", BEFORE_LOGIN)
def test_nobody_is_held_before_the_login(
    bench: Bench, make_environment: Environment, trick: type[Hostile]
) -> None:
    bench.says(DUMPS)
    ended = run(bench, make_environment, trick, SHORT)
    assert ended.exit_code == ExitCode.CONNECTION_FAILED
    assert "check that it runs" in ended.message


@pytest.mark.parametrize("trick", ANSWERS)
def test_no_answer_holds_an_export(
    bench: Bench, make_environment: Environment, trick: type[Hostile]
) -> None:
    # So that both questions are asked, of which the dump needs neither.
    bench.says(FAILS)
    ended = run(bench, make_environment, trick, answer_seconds=SHORT_ANSWER)
    assert ended.exit_code in (ExitCode.DUMP_FAILED, ExitCode.PERMISSION_DENIED), ended
    assert '"event":"dump_started"' in ended.log
    assert ended.message.endswith(".")
    assert len(ended.message) < 2000


def test_an_endless_stderr_is_not_kept(bench: Bench, make_environment: Environment) -> None:
    bench.says("head -c 200000000 /dev/zero | tr '\\0' x >&2; exit 1")
    ended = run(bench, make_environment, Hostile)
    assert ended.exit_code == ExitCode.DUMP_FAILED
    assert len(ended.message) < 2000


def test_names_that_nobody_can_read_are_shown_as_far_as_they_go(
    bench: Bench, make_environment: Environment
) -> None:
    bench.says(FAILS)
    ended = run(bench, make_environment, servers.UndecodableNames)
    assert ended.exit_code == ExitCode.PERMISSION_DENIED
    assert "public.caf\N{REPLACEMENT CHARACTER} [31m line" in ended.message
    assert ended.message.isprintable()
    assert len(ended.message) < 1000


def test_a_version_is_no_sentence() -> None:
    class Talking(Hostile):
        version = "17.6\u00a0urgent:\u00a0https://evil.example/x"

    with listening(Talking) as port:
        parameters = {
            "host": "127.0.0.1", "port": str(port), "user": "u", "dbname": "d",
            "password": "p", "sslmode": "disable",
        }  # fmt: skip
        assert look_at_server(parameters).version == "17.6"


def test_an_odd_version(bench: Bench, make_environment: Environment) -> None:
    bench.says(DUMPS)
    ended = run(bench, make_environment, servers.OddVersion)
    assert ended.exit_code == ExitCode.SERVER_VERSION_UNSUPPORTED
    assert ended.message.isprintable()
    assert len(ended.message) < 500


def test_sigterm_ends_a_preflight_in_c_code_at_once(
    bench: Bench, make_environment: Environment
) -> None:
    bench.says(DUMPS)
    asked = bench.root / "asked"

    class Watched(servers.ScramForEver):
        def let_in(self) -> None:
            super().let_in()
            asked.touch()

    with listening(Watched) as port:
        process = start(bench, values(make_environment, port))
        wait_for(asked.exists)
        children = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=GRACE_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED
    wait_for(lambda: not any(map(is_alive, children)))


def test_a_killed_runner_leaves_no_child(bench: Bench, make_environment: Environment) -> None:
    bench.says(f"echo $$ > {bench.root}/pid; exec sleep 60")
    with listening(Hostile) as port:
        process = start(bench, values(make_environment, port))
        wait_for(lambda: (bench.root / "pid").exists() and (bench.root / "pid").read_text())
        dump = int((bench.root / "pid").read_text())
        asking = [child for child in descendants(process.pid) if child != dump]
        process.kill()
        # It has the runner's end of no pipe.
        os.kill(dump, signal.SIGKILL)
        process.communicate(timeout=60)
    assert asking
    wait_for(lambda: not any(map(is_alive, asking)))
