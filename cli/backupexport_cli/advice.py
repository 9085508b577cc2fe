"""The commands that an error advises, as they are typed where the failed one was; pure."""

import re
import shlex
from collections.abc import Sequence

# Those that ask a server, or Kubernetes, for something.
_ASKING = "targets|export|jobs|job|watch|cancel|download|check|restore-command|link"
_ADVISED = re.compile(rf"\bbackupexport ({_ASKING})\b((?: FILE --job)? ID\b)?")
_JOB_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
# They say how an answer is told, and not where it is from.
_ABOUT_OUTPUT = {"--json", "--quiet", "-q", "--verbose", "-v"}


def as_typed(advice: str, global_options: Sequence[str], arguments: Sequence[str]) -> str:
    """Return an advice whose commands can be typed as they stand.

    They get the options that say which server is meant, and the job's id where one was given.
    """
    place = [option for option in global_options if option not in _ABOUT_OUTPUT]
    job_id = next((each for each in arguments if _JOB_ID.fullmatch(each.lower())), "ID")

    def typed(found: re.Match[str]) -> str:
        words = shlex.join(["backupexport", *place, found[1]])
        return words + (found[2] or "").replace("ID", job_id)

    command = next((each for each in arguments if not each.startswith("-")), "COMMAND")
    return _ADVISED.sub(typed, advice).replace("COMMAND --help", f"{command} --help")
