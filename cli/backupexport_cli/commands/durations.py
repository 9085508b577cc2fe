"""Times as people type them; pure."""

import re

from backupexport_cli.errors import CliError, ExitCode

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> int:
    """Return the seconds of a time such as 90s, 30min, 12h or 3d; raises CliError."""
    found = re.fullmatch(r"([1-9][0-9]{0,8}) ?(s|min|m|h|d)?", text.strip())
    if found is None:
        raise CliError(
            ExitCode.USAGE,
            f"{text} is no time.",
            "Write a number and its unit, such as 90s, 30min, 12h or 3d.",
        )
    return int(found[1]) * _UNITS[found[2] or "s"]
