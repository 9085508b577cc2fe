"""`backupexport-runner`: the process around one export, or around what comes after one.

The task runs in a thread of its own, so that the main thread can answer SIGTERM at once,
whatever C code the task is in (see `interruption`).
"""

import contextlib
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import (
    ENV_TASK,
    TASK_EXPORT,
    Outcome,
    delivery_kind,
    outcome_text,
)

from backupexport_runner.delivery.attempt import deliver, known_kinds
from backupexport_runner.export.exporter import Exporter, ServerQuestions
from backupexport_runner.postgres.connection import secret_values
from backupexport_runner.postgres.libpq import parse_uri
from backupexport_runner.postgres.libpq_parameters import SYSTEM_CERTIFICATES_VARIABLE
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.failure import (
    Failure,
    cleanup_interrupted,
    delivery_interrupted,
    interrupted,
    unforeseen,
    unforeseen_in_delivery,
)
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import read_request, read_task
from backupexport_runner.volume.cleanup import clean_up

_SECONDS_TO_NOTICE = 0.25
_SECONDS_TO_STOP = 1.5
# Files are for the owner and the group (the pod's fsGroup), for nobody else.
_UMASK = 0o027
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    """Run the task that the environment describes and exit with its code."""
    environment = dict(os.environ)
    # Neither libpq in this process (PGOPTIONS, PGSERVICE, …) nor any child sees it.
    os.environ.clear()
    os.environ.update({"PATH": _PATH, **SYSTEM_CERTIFICATES_VARIABLE})
    os.umask(_UMASK)
    _exit(run(environment, Configuration(), ServerQuestions(parse_uri)))


def run(
    environment: Mapping[str, str], configuration: Configuration, questions: ServerQuestions
) -> int:
    """Run one task, report its outcome, and return the exit code."""
    scrubber = Scrubber(secret_values(environment))
    log = Log(scrubber)
    interruption = Interruption()
    exporter = Exporter(configuration, questions, log, scrubber, interruption)
    # A SimpleQueue, unlike an Event, may be filled by a signal's handler.
    happened: queue.SimpleQueue[Outcome | Failure | None] = queue.SimpleQueue()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: happened.put(None))

    def work() -> None:
        happened.put(_outcome(exporter, environment, scrubber))

    threading.Thread(target=work, name="task", daemon=True).start()
    outcome = _first(happened)
    if outcome is None:
        interruption.request()
        outcome = _last_outcome(happened)
    if outcome is None:
        interruption.abandon()
        outcome = _stopped(environment)
    if isinstance(outcome, Failure):
        return _report_failure(outcome, configuration, log, scrubber, interruption)
    return _report_success(outcome, configuration, log)


def _outcome(
    exporter: Exporter, environment: Mapping[str, str], scrubber: Scrubber
) -> Outcome | Failure:
    log, interruption = exporter.log, exporter.interruption
    exports = exporter.configuration.exports
    try:
        task = read_task(environment, known_kinds())
        if task == TASK_EXPORT:
            return Outcome(exporter.run(environment))
        kind = delivery_kind(task)
        if kind is not None:
            return deliver(kind, environment, exports, log, scrubber, interruption)
        return clean_up(task, exports, read_request(environment), log)
    except Failure as failure:
        return _stopped(environment) if interruption.requested else failure
    except Exception:  # noqa: BLE001 - whatever it is, the task must end with a report
        log.event("unexpected", traceback=traceback.format_exc())
        return unforeseen_in_delivery() if _is_delivery(environment) else unforeseen()


def _first(
    happened: "queue.SimpleQueue[Outcome | Failure | None]",
) -> Outcome | Failure | None:
    """What happens first, None for a signal.

    A signal that comes just as the wait begins doesn't end it: its handler runs when the thread
    wakes up, so it wakes up often.
    """
    while True:
        with contextlib.suppress(queue.Empty):
            return happened.get(timeout=_SECONDS_TO_NOTICE)


def _last_outcome(
    happened: "queue.SimpleQueue[Outcome | Failure | None]",
) -> Outcome | Failure | None:
    """The outcome after a signal, None where none comes in time.

    An artifact that was complete just before the signal stays one.
    """
    outcome = None
    with contextlib.suppress(queue.Empty):
        while outcome is None:
            outcome = happened.get(timeout=_SECONDS_TO_STOP)
    return outcome


def _stopped(environment: Mapping[str, str]) -> Failure:
    if _is_delivery(environment):
        return delivery_interrupted()
    is_export = environment.get(ENV_TASK, TASK_EXPORT) == TASK_EXPORT
    return interrupted() if is_export else cleanup_interrupted()


def _is_delivery(environment: Mapping[str, str]) -> bool:
    return delivery_kind(environment.get(ENV_TASK, TASK_EXPORT)) is not None


def _report_success(outcome: Outcome, configuration: Configuration, log: Log) -> int:
    artifact = outcome.artifact
    if artifact is not None:
        log.event("completed", path=artifact.path, size_bytes=artifact.size_bytes)
    elif outcome.message is not None:
        log.event("delivered", message=outcome.message)
    else:
        log.event("nothing_left")
    _write_termination_message(outcome, configuration, log)
    return int(ExitCode.SUCCESS)


def _report_failure(
    failure: Failure,
    configuration: Configuration,
    log: Log,
    scrubber: Scrubber,
    interruption: Interruption,
) -> int:
    """Report it; a termination message only where nothing of the attempt is left.

    That is what the message stands for besides its words: without one the operator has the
    volume tidied.
    """
    message = scrubber.clean(failure.message)
    log.event("failed", exit_code=int(failure.exit_code), message=message)
    if interruption.is_anything_left:
        log.event("partial_file_left")
    else:
        _write_termination_message(Outcome(message=message), configuration, log)
    return int(failure.exit_code)


def _write_termination_message(outcome: Outcome, configuration: Configuration, log: Log) -> None:
    try:
        configuration.termination_message.write_text(outcome_text(outcome), encoding="utf-8")
    except OSError as error:
        log.event("termination_message_lost", error=str(error))


def _exit(exit_code: int) -> None:
    # At once: a thread that sits in a name look-up or in fsync must not hold the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
