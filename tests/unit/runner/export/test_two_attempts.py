"""Two attempts of one export in one directory: the older stood still, and comes back."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.runner_protocol import Outcome
from backupexport_runner.export import exporter
from backupexport_runner.export.exporter import Exporter, ServerQuestions
from backupexport_runner.postgres.preflight import Server
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from runner_bench import FAKE_PG_DUMP, Bench
from runner_process import wait_for
from secret_files import mount

Environment = Callable[..., dict[str, str]]

CONTENT = {"older": "of the older attempt", "newer": "of the newer attempt"}


class Attempt:
    """One attempt in a thread of its own; its pg_dump ends when `finish` is called."""

    def __init__(
        self, bench: Bench, values: dict[str, str], pool: ThreadPoolExecutor, pod: str
    ) -> None:
        self.bench = bench
        self.pod = pod
        self.values = values | {"EXPORT_POD_NAME": pod}
        self.pool = pool
        self.asked, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()
        self.end_of_dump = bench.root / f"{pod}-goes-on"
        self.began = bench.root / f"{pod}-began"
        program = bench.root / pod / "17" / "bin" / "pg_dump"
        program.parent.mkdir(parents=True)
        program.write_text(
            f"{FAKE_PG_DUMP}: > {self.began}\n"
            f"while [ ! -e {self.end_of_dump} ]; do sleep 0.01; done\n"
            f"printf '{CONTENT[pod]}'\n"
            f"if [ -e {bench.root}/{pod}-fails ]; then exit 1; fi\n"
        )
        program.chmod(0o755)
        self.interruption = Interruption()
        self._outcome: Future[Outcome] | None = None

    def start(self) -> None:
        self._outcome = self.pool.submit(self._run)

    def begin(self) -> None:
        """Returns when the dump is under way, whose file then is there."""
        self.start()
        self.wait_for_dump()

    def wait_for_dump(self) -> None:
        wait_for(lambda: self.began.exists() or (self._outcome and self._outcome.done()))
        assert self.began.exists(), self.outcome()

    def finish(self) -> Outcome:
        self.end_of_dump.touch()
        return self.outcome()

    def outcome(self) -> Outcome:
        assert self._outcome is not None
        return self._outcome.result(timeout=60)

    def _run(self) -> Outcome:
        configuration = replace(self.bench.configuration, clients=self.bench.root / self.pod)
        questions = ServerQuestions(self._look, lambda _: None)
        environment = mount(self.values, configuration.secret)
        log = Log(Scrubber(), self.bench.output)
        return Exporter(configuration, questions, log, self.interruption).run(environment)

    def _look(self, _: object) -> Server:
        self.asked.set()
        assert self.goes_on.wait(60)
        return self.bench.server


class Pair:
    """The two attempts, and what is to be seen of their files."""

    def __init__(self, bench: Bench, values: dict[str, str], pool: ThreadPoolExecutor) -> None:
        self.bench = bench
        self.file = bench.exports / values["EXPORT_FILE_NAME"]
        self.older = Attempt(bench, values, pool, "older")
        self.newer = Attempt(bench, values, pool, "newer")

    def assert_whole(self, outcome: Outcome, pod: str) -> None:
        """What was reported is there, and nothing else."""
        assert outcome.artifact is not None
        content = self.file.read_bytes()
        assert content == CONTENT[pod].encode()
        assert outcome.artifact.sha256 == hashlib.sha256(content).hexdigest()
        manifest = json.loads(Path(f"{self.file}.json").read_text())
        assert manifest["sha256"] == outcome.artifact.sha256
        assert self.bench.files == [self.file.name, f"{self.file.name}.json"]
        assert self.file.stat().st_nlink == 1


@pytest.fixture
def pair(bench: Bench, make_environment: Environment) -> Iterator[Pair]:
    with ThreadPoolExecutor() as pool:
        pair = Pair(bench, make_environment("sql", "none"), pool)
        yield pair
        for attempt in (pair.older, pair.newer):
            attempt.goes_on.set()
            attempt.end_of_dump.touch()


@pytest.fixture
def while_older_stands_still(
    monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> Callable[[str, int, Callable[[], object]], None]:
    """Before the nth of these calls of the older attempt on one of its names, something happens."""

    def at(call: str, nth: int, happens: Callable[[], object]) -> None:
        older: list[int] = []
        count = 0

        def held(real: Callable[..., Any]) -> Callable[..., Any]:
            def standing(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                is_meant = older and threading.get_ident() == older[0]
                if is_meant and str(arguments[0]).endswith((".partial", "exports")):
                    count += 1
                    if count == nth:
                        happens()
                return real(*arguments, **options)

            return standing

        real_run = pair.older._run

        def run() -> Outcome:
            older.append(threading.get_ident())
            return real_run()

        monkeypatch.setattr(pair.older, "_run", run)
        for name in {"publish": ("link", "rename"), "discard": ("unlink",)}[call]:
            monkeypatch.setattr(os, name, held(getattr(os, name)))

    return at


def test_it_comes_back_after_the_newer_has_begun(pair: Pair) -> None:
    pair.older.goes_on.clear()
    pair.older.start()
    assert pair.older.asked.wait(60)
    pair.newer.begin()
    pair.older.goes_on.set()
    pair.older.wait_for_dump()
    outcome = pair.newer.finish()
    assert pair.older.finish() == replace(outcome, server_verified=None)
    pair.assert_whole(outcome, "newer")


def test_it_comes_back_and_is_first(pair: Pair) -> None:
    pair.older.goes_on.clear()
    pair.older.start()
    assert pair.older.asked.wait(60)
    pair.newer.begin()
    pair.older.goes_on.set()
    outcome = pair.older.finish()
    assert pair.newer.finish() == replace(outcome, server_verified=None)
    pair.assert_whole(outcome, "older")


def test_it_comes_back_after_the_newer_has_finished(pair: Pair) -> None:
    pair.older.goes_on.clear()
    pair.older.start()
    assert pair.older.asked.wait(60)
    pair.newer.begin()
    outcome = pair.newer.finish()
    pair.older.goes_on.set()
    assert pair.older.finish() == replace(outcome, server_verified=None)
    pair.assert_whole(outcome, "newer")


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize("nth", [1, 2])
def test_it_stood_still_as_its_files_got_their_names(
    pair: Pair,
    while_older_stands_still: Callable[[str, int, Callable[[], object]], None],
    nth: int,
    *,
    is_finished: bool,
) -> None:
    def run_newer() -> None:
        pair.newer.begin()
        if is_finished:
            pair.newer.finish()

    while_older_stands_still("publish", nth, run_newer)
    pair.older.begin()
    if is_finished:
        older = pair.older.finish()
        assert older == replace(pair.newer.outcome(), server_verified=None)
    else:
        with pytest.raises(Failure, match="Another attempt"):
            pair.older.finish()
    pair.assert_whole(pair.newer.finish(), "newer")


@pytest.mark.parametrize("is_finished", [False, True])
def test_it_stood_still_as_it_removed_its_file(
    pair: Pair,
    while_older_stands_still: Callable[[str, int, Callable[[], object]], None],
    *,
    is_finished: bool,
) -> None:
    def run_newer() -> None:
        pair.newer.begin()
        if is_finished:
            pair.newer.finish()

    (pair.bench.root / "older-fails").touch()
    while_older_stands_still("discard", 1, run_newer)
    pair.older.begin()
    with pytest.raises(Failure, match="exit status 1"):
        pair.older.finish()
    pair.assert_whole(pair.newer.finish(), "newer")


def test_it_stood_still_before_it_looked_for_leftovers(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that it then finds is its successor's, as is one without a manifest."""
    monkeypatch.setattr(exporter, "BEGINNING_SECONDS", -1.0)
    pair.newer.begin()
    pair.file.write_text("the newer is about to publish its manifest")
    pair.older.start()
    assert pair.older.asked.wait(60)
    assert pair.file.exists()
    pair.file.unlink()
    outcome = pair.newer.finish()
    assert pair.older.finish() == replace(outcome, server_verified=None)
    pair.assert_whole(outcome, "newer")
