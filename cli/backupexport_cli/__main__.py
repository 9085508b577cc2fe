"""The start of the command line."""

import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

from backupexport_cli.advice import as_typed
from backupexport_cli.application import app, global_options_and_rest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.console import Output

# httpx's own command line, which is not wanted here: its imports take a tenth of a second.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of the command that was asked for."""
    if arguments is not None:
        return _run(arguments)
    _end_by_signals_in_order()
    try:
        return _run(sys.argv[1:])
    finally:
        # All is done: a Ctrl-C from here on would only show where Python is.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Else Python looks through all objects at its end, which takes two tenths of a second.
        gc.freeze()


def _run(given: Sequence[str]) -> int:
    is_verbose = bool({"--verbose", "-v"} & set(given))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character gets another one, not an end of the command.
            stream.reconfigure(errors="replace")
    output = Output(is_json="--json" in given)
    global_options, rest = global_options_and_rest(given)
    try:
        ended = app([*global_options, *rest], prog_name="backupexport", standalone_mode=False)
    except CliError as error:
        error.advice = as_typed(error.advice, global_options, rest)
        output.error(error)
        return int(error.exit_code)
    except typer.TyperException as error:
        return _wrong_usage(output, error)
    except (KeyboardInterrupt, EOFError, typer.Abort):
        return int(ExitCode.STOPPED)
    except BrokenPipeError:
        # Nobody reads any more, as of `| head`; what Python flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILED)
    except Exception as error:  # noqa: BLE001 - no traceback ever reaches a user
        output.error(_unknown(error, is_verbose=is_verbose))
        return int(ExitCode.FAILED)
    return ended if isinstance(ended, int) else int(ExitCode.GOOD)


def _unknown(error: Exception, *, is_verbose: bool) -> CliError:
    """Return what is told of a bug: never its words, which may have the token in them."""
    if not is_verbose:
        advice = "Run it again with --verbose, and report what it says."
        return CliError(ExitCode.FAILED, "Something went wrong here.", advice)
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = ", ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames)
    what = f"Something went wrong here ({type(error).__name__}; {where})."
    return CliError(ExitCode.FAILED, what, "Report this to whoever gave you the command.")


def _end_by_signals_in_order() -> None:
    """Have a signal that ends the command end what it has started, and remove what is half-way."""

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # nohup has it ignored.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def _wrong_usage(output: Output, error: typer.TyperException) -> int:
    # pydantic's word for it, which typer passes on.
    message = error.format_message().replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "backupexport"
    advice = f"See what there is: {command} --help"
    output.error(CliError(ExitCode.USAGE, message or "A command is missing.", advice))
    return int(ExitCode.USAGE)


if __name__ == "__main__":
    sys.exit(main())
