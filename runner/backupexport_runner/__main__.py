"""`backupexport-runner`: the process around one export.

The export runs in a thread of its own, so that the main thread can answer SIGTERM at once,
whatever C code the export is in (see `interruption`).
"""

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact

from backupexport_runner.configuration import Configuration
from backupexport_runner.connection import secret_values
from backupexport_runner.export import Exporter, ServerQuestions, outcome_of
from backupexport_runner.failures import RunnerFailure, interrupted
from backupexport_runner.interruption import Interruption
from backupexport_runner.libpq import parse_uri
from backupexport_runner.libpq_parameters import SYSTEM_CERTIFICATES_VARIABLE
from backupexport_runner.log import Log
from backupexport_runner.scrubbing import Scrubber

_SECONDS_TO_STOP = 1.5
# Files are for the owner and the group (the pod's fsGroup), for nobody else.
_UMASK = 0o027
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    """Run the export that the environment describes and exit with its code."""
    environment = dict(os.environ)
    # Neither libpq in this process (PGOPTIONS, PGSERVICE, …) nor any child sees it.
    os.environ.clear()
    os.environ.update({"PATH": _PATH, **SYSTEM_CERTIFICATES_VARIABLE})
    os.umask(_UMASK)
    _exit(run(environment, Configuration(), ServerQuestions(parse_uri)))


def run(
    environment: Mapping[str, str], configuration: Configuration, questions: ServerQuestions
) -> int:
    """Run one export, report its outcome, and return the exit code."""
    scrubber = Scrubber(secret_values(environment))
    log = Log(scrubber)
    interruption = Interruption()
    exporter = Exporter(configuration, questions, log, scrubber, interruption)
    # A SimpleQueue, unlike an Event, may be filled by a signal's handler.
    happened: queue.SimpleQueue[Artifact | RunnerFailure | None] = queue.SimpleQueue()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: happened.put(None))

    def work() -> None:
        happened.put(_outcome(exporter, environment))

    threading.Thread(target=work, name="export", daemon=True).start()
    outcome = happened.get()
    if outcome is None:
        outcome = _stop(happened, interruption)
    return _report(outcome, configuration, log, scrubber)


def _outcome(exporter: Exporter, environment: Mapping[str, str]) -> Artifact | RunnerFailure:
    try:
        return exporter.run(environment)
    except RunnerFailure as failure:
        if exporter.interruption.requested:
            return interrupted()
        return failure
    except Exception:  # noqa: BLE001 - whatever it is, the export must end with a report
        exporter.log.event("unexpected", traceback=traceback.format_exc())
        return RunnerFailure(
            ExitCode.INTERNAL,
            "The runner failed in a way nobody foresaw: start the export again, and report the "
            "traceback in the pod's log if it repeats.",
        )


def _stop(
    happened: "queue.SimpleQueue[Artifact | RunnerFailure | None]", interruption: Interruption
) -> Artifact | RunnerFailure:
    """The outcome after a signal; an artifact that was complete just before stays one."""
    interruption.request()
    outcome = None
    try:
        while outcome is None:
            outcome = happened.get(timeout=_SECONDS_TO_STOP)
    except queue.Empty:
        interruption.discard_leftovers()
        return interrupted()
    return outcome


def _report(
    outcome: Artifact | RunnerFailure, configuration: Configuration, log: Log, scrubber: Scrubber
) -> int:
    if isinstance(outcome, Artifact):
        exit_code, artifact, message = int(ExitCode.SUCCESS), outcome, None
        log.event("completed", path=artifact.path, size_bytes=artifact.size_bytes)
    else:
        exit_code, artifact = int(outcome.exit_code), None
        message = scrubber.clean(outcome.message)
        log.event("failed", exit_code=exit_code, message=message)
    try:
        configuration.termination_message.write_text(
            outcome_of(artifact, message), encoding="utf-8"
        )
    except OSError as error:
        log.event("termination_message_lost", error=str(error))
    return exit_code


def _exit(exit_code: int) -> None:
    # At once: a thread that sits in a name look-up or in fsync must not hold the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
