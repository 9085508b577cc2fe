"""The installed program: Ctrl-C in its first moment, while it loads, ends it without a word."""

import signal


def main() -> int:
    """Return the exit code of the command that was asked for."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from backupexport_cli.__main__ import main as run

    signal.signal(signal.SIGINT, before)
    return run()
