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

# Before the kubelet has missed it three times and makes another process of it.
_LONGEST_SECONDS = 25
_INSIGHT_SECONDS = 15
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
        identity = self._ledger.leaders[-1]
        name, _, uid = identity.rpartition("_")
        try:
            pod = get("-n", self._namespace, "pod", name)
            ask = _asker(pod["status"]["podIP"])
            before = ask()
        except (ToolError, OSError, KeyError) as error:
            return Outcome(f"{name}: {error}", had_effect=False)
        asked_at = time.time()
        if not before.leads or not kill_inside(uid, number=signal.SIGSTOP):
            return Outcome(f"{name}: leads no more", had_effect=False)
        stopped_at = time.time()
        try:
            wait_for(
                lambda: self._ledger.leaders[-1] != identity, "another leader", _LONGEST_SECONDS
            )
        except NeverHappenedError:
            return Outcome(f"{name}: nobody took over", had_effect=False)
        finally:
            kill_inside(uid, number=signal.SIGCONT)
        after = _when_it_knows(ask)
        changes = self._ledger.changes_between(asked_at, stopped_at + 1)
        writes = None if after is None or after.writes < before.writes else after.writes
        self.freezes.append(Freeze(name, before.writes, writes, changes))
        took = f"{name}, for {time.time() - stopped_at:.0f} s"
        return Outcome(took if after else f"{took}; it was killed", had_effect=True)


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
        return wait_for(look, "its insight", _INSIGHT_SECONDS)
    except NeverHappenedError:
        return None
