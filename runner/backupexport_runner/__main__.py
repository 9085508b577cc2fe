"""`backupexport-runner`: the process around one task, an export or what comes after one.

The task runs in a thread of its own, so that the main thread can answer SIGTERM at once, whatever
C code the task is in (see `interruption`).
"""

import contextlib
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import (
    DELIVERY_REASON_OF_EXIT_CODE,
    REASON_OF_EXIT_CODE,
    ExitCode,
)

from backupexport_runner.delivery.attempt import deliver, known_kinds
from backupexport_runner.export.exporter import Exporter, ServerQuestions
from backupexport_runner.postgres import preflight
from backupexport_runner.postgres.confined import ConfinedQuestions
from backupexport_runner.postgres.libpq_parameters import SYSTEM_CERTIFICATES_VARIABLE
from backupexport_runner.storage.failures import NotAllRemovedError
from backupexport_runner.storage.interface import Storage
from backupexport_runner.storages import open_storage
from backupexport_runner.task.configuration import Configuration
from backupexport_runner.task.failure import Failure, interrupted, unforeseen
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import read_files, read_request, read_task

_SECONDS_TO_NOTICE = 0.25
_SECONDS_TO_STOP = 1.5
# Files are for the owner and the group (the pod's fsGroup), for nobody else.
_UMASK = 0o027
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What a cloud's admission webhook gives a pod for an identity of its own at a bucket.
_IDENTITY = frozenset(
    {
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_REGION",
        "AWS_ROLE_ARN",
        "AWS_STS_REGIONAL_ENDPOINTS",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_TENANT_ID",
        "GOOGLE_APPLICATION_CREDENTIALS",
    }
)

# What has happened to the task: its outcome, its failure, or a signal (None).
_Happened = queue.SimpleQueue[protocol.Outcome | Failure | None]


def main() -> None:
    """Runs the task that the environment describes, and exits with its code."""
    environment = dict(os.environ)
    # Neither libpq in this process (PGOPTIONS, PGSERVICE, …) nor any child sees it.
    os.environ.clear()
    os.environ.update({"PATH": _PATH, **SYSTEM_CERTIFICATES_VARIABLE})
    if protocol.ENV_STORAGE in environment:
        # For this process alone: pg_dump has an environment of its own.
        os.environ.update({name: environment[name] for name in _IDENTITY & environment.keys()})
    os.umask(_UMASK)
    # No other task asks a server, so none else gets the child that does.
    is_export = _named_task(environment) == protocol.TASK_EXPORT
    questions = (
        confined_questions()
        if is_export
        else ServerQuestions(preflight.look_at_server, preflight.find_obstacle)
    )
    _exit(run(environment, Configuration(), questions))


def confined_questions() -> ServerQuestions:
    """Returns the calls that ask the server; the process must not have a second thread yet."""
    asking = ConfinedQuestions()
    return ServerQuestions(asking.look_at_server, asking.find_obstacle, asking.kill)


def run(
    environment: Mapping[str, str], configuration: Configuration, questions: ServerQuestions
) -> int:
    """Runs one task, reports its outcome, and returns the exit code."""
    log, interruption = Log(Scrubber()), Interruption()
    exporter = Exporter(configuration, questions, log, interruption)
    # A SimpleQueue, unlike an Event, may be filled by a signal's handler.
    happened: _Happened = queue.SimpleQueue()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: happened.put(None))

    def work() -> None:
        happened.put(_outcome(exporter, environment))

    threading.Thread(target=work, name="task", daemon=True).start()
    outcome = _first(happened)
    if outcome is None:
        interruption.request()
        questions.kill()
        outcome = _outcome_after_signal(happened)
    if outcome is None:
        interruption.abandon()
        outcome = interrupted(_named_task(environment))
    if isinstance(outcome, Failure):
        return _report_failure(outcome, exporter, _named_task(environment))
    return _report_success(outcome, exporter, _named_task(environment))


def _outcome(exporter: Exporter, environment: Mapping[str, str]) -> protocol.Outcome | Failure:
    log, interruption = exporter.log, exporter.interruption
    configuration = exporter.configuration
    try:
        task = read_task(environment, known_kinds())
        if task == protocol.TASK_EXPORT:
            return exporter.run(environment)
        kind = protocol.delivery_kind(task)
        if kind is not None:
            return deliver(kind, environment, configuration, log, interruption)
        with contextlib.closing(
            open_storage(environment, configuration, log, interruption)
        ) as storage:
            return _cleaned_up(task, storage, environment)
    except Failure as failure:
        return interrupted(_named_task(environment)) if interruption.requested else failure
    except Exception:  # noqa: BLE001 - whatever it is, the task must end with a report
        log.event("unexpected", traceback=traceback.format_exc())
        return unforeseen(_named_task(environment))


def _cleaned_up(task: str, storage: Storage, environment: Mapping[str, str]) -> protocol.Outcome:
    if task == protocol.TASK_CHECK:
        return protocol.Outcome(message=storage.check())
    if task == protocol.TASK_TIDY:
        return protocol.Outcome(storage.tidy(read_request(environment)))
    if protocol.ENV_FILES in environment:
        return storage.remove_all(read_files(environment))
    storage.remove(read_request(environment))
    return protocol.Outcome()


def _named_task(environment: Mapping[str, str]) -> str:
    """Returns the task as the environment names it, known or not."""
    return environment.get(protocol.ENV_TASK, protocol.TASK_EXPORT)


def _first(happened: _Happened) -> protocol.Outcome | Failure | None:
    # A signal that comes just as the wait begins doesn't end it: its handler runs when the thread
    # wakes up, so it wakes up often.
    while True:
        with contextlib.suppress(queue.Empty):
            return happened.get(timeout=_SECONDS_TO_NOTICE)


def _outcome_after_signal(happened: _Happened) -> protocol.Outcome | Failure | None:
    """Returns the outcome: an artifact that was complete just before the signal stays one."""
    outcome = None
    with contextlib.suppress(queue.Empty):
        while outcome is None:
            outcome = happened.get(timeout=_SECONDS_TO_STOP)
    return outcome


def _report_success(outcome: protocol.Outcome, exporter: Exporter, task: str) -> int:
    artifact, log = outcome.artifact, exporter.log
    if artifact is not None:
        log.event("completed", path=artifact.path, size_bytes=artifact.size_bytes)
    elif outcome.message is not None:
        outcome = replace(outcome, message=log.scrubber.clean(outcome.message))
        event = "checked" if task == protocol.TASK_CHECK else "delivered"
        log.event(event, message=outcome.message)
    else:
        log.event("nothing_left")
    _write_termination_message(outcome, exporter)
    return int(ExitCode.SUCCESS)


def _report_failure(failure: Failure, exporter: Exporter, task: str) -> int:
    # The operator has the volume tidied after a failure without a termination message.
    message = exporter.log.scrubber.clean(failure.message)
    exporter.log.event("failed", exit_code=int(failure.exit_code), message=message)
    if exporter.interruption.is_anything_left:
        exporter.log.event("partial_file_left")
    else:
        told = failure.outcome if isinstance(failure, NotAllRemovedError) else protocol.Outcome()
        is_delivery = protocol.delivery_kind(task) is not None
        reasons = DELIVERY_REASON_OF_EXIT_CODE if is_delivery else REASON_OF_EXIT_CODE
        told = replace(told, message=message, reason=reasons.get(failure.exit_code))
        _write_termination_message(told, exporter)
    return int(failure.exit_code)


def _write_termination_message(outcome: protocol.Outcome, exporter: Exporter) -> None:
    try:
        path = exporter.configuration.termination_message
        path.write_text(protocol.outcome_text(outcome), encoding="utf-8")
    except OSError as error:
        exporter.log.event("termination_message_lost", error=str(error))


def _exit(exit_code: int) -> None:
    # At once: a thread in a name look-up or in fsync must not hold the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
