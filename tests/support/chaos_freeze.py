"""A leader that is stopped until another one leads, and what it writes when it wakes up."""

import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from chaos_faults import LastingBlow, Outcome
from chaos_pods import Freeze
from chaos_processes import kill_inside
from chaos_schedule import Fault, Manner, Strike
from chaos_watch import Ledger
from playground.tools import NeverHappenedError, ToolError, get, wait_for
from prometheus_client.parser import text_string_to_metric_families

# The kubelet may have missed it three times before, and made another process of it: then nothing is
# learnt of its writes.
_LONGEST_SECONDS = 60
_TRY_SECONDS = 30
_INSIGHT_SECONDS = 60
_AFTERWARDS_SECONDS = 3
_REQUESTS = "backupexport_operator_kubernetes_requests"
_LEADER = "backupexport_operator_leader"
# Not Events, which do no harm, nor the Lease, which is how it learns that another leads.
_HARMFUL = ("backupexports", "backupexports/status", "exporttargets/status", "jobs")
_WRITES = ("create", "update", "patch", "delete")
_PORT = 8081


@dataclass(frozen=True)
class Told:
    """What an operator's process tells of itself."""

    leads: bool
    writes: int


def read_metrics(text: str) -> Told:
    """From the answer of /metrics: whether it leads, and how many requests to write it has sent."""
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    return Told(
        leads=any(each.name == _LEADER and each.value == 1 for each in samples),
        writes=sum(
            int(each.value)
            for each in samples
            if each.name == f"{_REQUESTS}_total"
            and each.labels["verb"] in _WRITES
            and each.labels["resource"] in _HARMFUL
        ),
    )


class Freezer:
    """Freezes the leader of `namespace`."""

    def __init__(self, namespace: str, ledger: Ledger) -> None:
        self._namespace = namespace
        self._ledger = ledger
        self.freezes: list[Freeze] = []

    @property
    def lasting(self) -> dict[Fault, LastingBlow]:
        """What is mended after a time."""
        return {Fault("operator", Manner.FREEZE): self._freeze}

    def _freeze(self, strike: Strike) -> Outcome:
        frozen = wait_for(self._frozen_leader, "a leader to freeze", _TRY_SECONDS)
        try:
            wait_for(
                lambda: self._ledger.leaders[-1] != frozen.identity,
                "another leader",
                _LONGEST_SECONDS,
            )
        except NeverHappenedError:
            return Outcome(f"{frozen.name}: nobody took over", had_effect=True)
        finally:
            kill_inside(frozen.uid, number=signal.SIGCONT)
        took = f"{frozen.name}, for {time.time() - frozen.at:.0f} s"
        after = _when_it_knows(frozen.ask)
        # Of another process of the pod, which has not written yet.
        is_another = after is None or after.writes < frozen.writes
        writes = None if after is None or is_another else after.writes
        self.freezes.append(Freeze(frozen.name, frozen.writes, writes, frozen.changes()))
        return Outcome(f"{took}; it was killed" if is_another else took, had_effect=True)

    def _frozen_leader(self) -> "_Frozen | None":
        """None where none leads just now, or it can't be asked."""
        if not self._ledger.leaders:
            return None
        identity = self._ledger.leaders[-1]
        name, _, uid = identity.rpartition("_")
        try:
            ask = _asker(get("-n", self._namespace, "pod", name)["status"]["podIP"])
            before = ask()
        except (ToolError, OSError, KeyError):
            return None
        asked_at = time.time()
        if not before.leads or not kill_inside(uid, number=signal.SIGSTOP):
            return None
        at, ledger = time.time(), self._ledger
        return _Frozen(
            identity, name, uid, at, ask, before.writes,
            lambda: ledger.changes_between(asked_at, at + 1),
        )  # fmt: skip


@dataclass(frozen=True)
class _Frozen:
    """A leader that is stopped since `at`, and what it has written until then."""

    identity: str
    name: str
    uid: str
    at: float
    ask: Callable[[], Told]
    writes: int
    changes: Callable[[], int]


def _asker(address: str) -> Callable[[], Told]:
    def ask() -> Told:
        with urllib.request.urlopen(f"http://{address}:{_PORT}/metrics", timeout=2) as answer:
            return read_metrics(answer.read().decode())

    return ask


def _when_it_knows(ask: Callable[[], Told]) -> Told | None:
    """What it tells once it has noticed that it leads no more; None if it was killed before."""

    def look() -> Told | None:
        try:
            told = ask()
        except (OSError, urllib.error.URLError):
            return None
        return None if told.leads else told

    try:
        told = wait_for(look, "its insight", _INSIGHT_SECONDS)
    except NeverHappenedError:
        return None
    # What it had begun may still be under way.
    time.sleep(_AFTERWARDS_SECONDS)
    return look() or told
