"""A failure's termination message stands for: nothing of the attempt is on the volume.

The runner runs in this process, so that the volume can refuse or hang at each single step.
"""

import errno
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import read_outcome
from backupexport_runner import __main__ as runner
from backupexport_runner.export.exporter import ServerQuestions
from backupexport_runner.task import interruption
from backupexport_runner.task.log import Log
from runner_bench import Bench
from secret_files import mount

Environment = Callable[..., dict[str, str]]

CALLS = ("open", "mkdir", "write", "fsync", "link", "unlink")


@dataclass(frozen=True)
class Ended:
    """What is left of a run."""

    exit_code: int
    has_message: bool
    files: list[str]
    events: list[str]

    @property
    def is_whole(self) -> bool:
        return self.exit_code == 0 and len(self.files) == 2


class Steps:
    """Counts the task's calls that change the volume; `at_step` is called before each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._target: object = None
        self.at_step: Callable[[int, str], None] = lambda step, call: None
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def is_on(self, mount: Path) -> bool:
        """Whether the present call is on the volume, and not on the runner's own files."""
        # Below the mount names are relative, to a descriptor.
        return (
            isinstance(self._target, int)
            or not Path(str(self._target)).is_absolute()
            or (Path(str(self._target)) == mount)
        )

    def _counted(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            if threading.current_thread() is not threading.main_thread():
                self.count += 1
                self._target = arguments[0]
                self.at_step(self.count, name)
            return call(*arguments, **options)

        return step


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def run(
    bench: Bench, make_environment: Environment, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    questions = ServerQuestions(lambda _: bench.server, lambda _: bench.obstacle)
    message = bench.configuration.termination_message

    def run(*, anew: bool = True) -> Ended:
        for name in bench.files if anew else ():
            (bench.exports / name).unlink()
        message.unlink(missing_ok=True)
        capsys.readouterr()
        environment = mount(make_environment(), bench.configuration.secret)
        exit_code = runner.run(environment, bench.configuration, questions)
        has_message = message.exists()
        if has_message and exit_code != 0:
            assert read_outcome(message.read_text()).message
        events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
        return Ended(exit_code, has_message, bench.files, events)

    return run


def step_count(run: Callable[[], Ended], steps: Steps) -> int:
    ended = run()
    assert ended.is_whole
    count, steps.count = steps.count, 0
    return count


@pytest.mark.parametrize("ends", ["echo x", "echo x; exit 1"])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_volume_that_refuses(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], Ended],
    ends: str,
    lasting: bool,
) -> None:
    steps = Steps(monkeypatch)
    bench.says("echo x")
    count = step_count(run, steps)
    bench.says(ends)
    silent = []
    for refused in range(1, count + 1):

        def refuse(step: int, _: str, first: int = refused) -> None:
            if step == first or (lasting and step > first):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        steps.count, steps.at_step = 0, refuse
        ended = run()
        assert ended.is_whole or ended.exit_code != 0
        assert ended.is_whole or not ended.has_message or ended.files == []
        assert ended.has_message != ("partial_file_left" in ended.events)
        if not ended.has_message:
            silent.append(ended.files)
    assert silent
    if ends == "echo x" and not lasting:
        # Where only one call is refused, and not the discard's, the discard succeeds: it removes
        # all but a final name.
        assert all(files for files in silent)
        assert not any("partial" in name for files in silent for name in files)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY])
def test_a_volume_that_fails_once_and_then_heals(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ended], number: int
) -> None:
    """At whatever step: the Job makes another attempt, which finds what the first has left."""
    steps = Steps(monkeypatch)
    bench.says("echo x")
    count = step_count(run, steps)
    codes = set()
    for refused in range(1, count + 1):

        def refuse(step: int, _: str, refused: int = refused) -> None:
            if step == refused and steps.is_on(bench.exports):
                raise OSError(number, os.strerror(number))

        steps.count, steps.at_step = 0, refuse
        first = run()
        if first.exit_code == 0:
            # No call on the volume was refused.
            assert first.is_whole
            continue
        codes.add(first.exit_code)
        second = run(anew=False)
        assert second.is_whole
        assert second.has_message
    assert codes == {ExitCode.STORAGE_AWAY, ExitCode.STORAGE_FALTERING}


@pytest.mark.parametrize(
    ("call", "nth"),
    [("open", 2), ("open", 3), ("fsync", 2), ("fsync", 3), ("fsync", 4), ("fsync", 5),
     ("link", 1), ("link", 2)],
)  # fmt: skip
def test_a_volume_that_hangs_when_sigterm_comes(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], Ended],
    call: str,
    nth: int,
) -> None:
    monkeypatch.setattr(runner, "_SECONDS_TO_STOP", 0.2)
    monkeypatch.setattr(interruption, "_SECONDS_TO_TAKE_OVER", 0.1)
    steps = Steps(monkeypatch)
    bench.says("echo x")
    goes_on = threading.Event()
    workers: list[threading.Thread] = []

    def hang(_: int, name: str) -> None:
        if name != call:
            return
        workers.append(threading.current_thread())
        if len(workers) == nth:
            os.kill(os.getpid(), signal.SIGTERM)
            goes_on.wait()

    steps.at_step = hang
    ended = run()
    assert len(workers) >= nth
    assert ended.exit_code == ExitCode.INTERRUPTED
    goes_on.set()
    workers[0].join(0.2)
    # A worker that waits for the data changes no name meanwhile, and can be cleaned up after.
    assert ended.has_message or call != "fsync" or nth not in (2, 3)
    if ended.has_message:
        assert (ended.files, bench.files) == ([], [])
    else:
        assert ended.events[-1] == "partial_file_left"


@pytest.mark.parametrize("owner", [os, Log])
def test_a_whole_artifact_that_nobody_heard_of_stays_and_is_told_by_no_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, run: Callable[[], Ended], owner: object
) -> None:
    """The worker hangs while it closes the files, or tells its progress."""
    monkeypatch.setattr(runner, "_SECONDS_TO_STOP", 0.2)
    bench.says("echo x")
    goes_on = threading.Event()
    name = "close" if owner is os else "progress"
    real = getattr(owner, name)

    def hang(*arguments: object) -> object:
        is_worker = threading.current_thread() is not threading.main_thread()
        if is_worker and len(bench.files) == 2 and not any("partial" in f for f in bench.files):
            os.kill(os.getpid(), signal.SIGTERM)
            goes_on.wait()
        return real(*arguments)

    monkeypatch.setattr(owner, name, hang)
    ended = run()
    goes_on.set()
    assert (ended.exit_code, ended.has_message) == (ExitCode.INTERRUPTED, False)
    assert len(ended.files) == 2
