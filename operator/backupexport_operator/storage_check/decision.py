"""When a storage is checked anew; pure.

A Job is one check, and stays to tell of it until the next one is due.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from backupexport_contract import timestamps

from backupexport_operator.observed.observation import SideJob

PAUSE = timedelta(days=1)
PAUSE_AFTER_FAILURE = timedelta(minutes=10)
_SOON = timedelta(seconds=5)


class CheckStep(Enum):
    """What to do with the check's Job; a new one is made when the old one is gone."""

    CREATE = auto()
    WAIT = auto()
    DELETE = auto()


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """The next step, and when to look again."""

    step: CheckStep
    recheck_after: timedelta | None = None


def decide_check(check: SideJob, now: datetime) -> CheckPlan:
    """Returns the next step of a storage's checks."""
    job = check.job
    if job is None:
        return CheckPlan(CheckStep.CREATE)
    if job.deleting:
        return CheckPlan(CheckStep.WAIT, _SOON)
    if job.suspended:
        # Made anew it would only go to the end of the queue that holds it.
        return CheckPlan(CheckStep.WAIT, PAUSE_AFTER_FAILURE)
    # One that doesn't end has failed: no controller works on it.
    pause = PAUSE if job.complete else PAUSE_AFTER_FAILURE
    left = timestamps.from_text(job.may_run_since) + pause - now
    if left > timedelta():
        return CheckPlan(CheckStep.WAIT, left)
    return CheckPlan(CheckStep.DELETE, _SOON)
