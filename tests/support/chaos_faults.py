"""Strikes: what a schedule names, carried out, with what came of each."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backupexport_contract import names
from chaos_processes import kill_inside
from chaos_schedule import Fault, Manner, Strike
from playground.tools import ROOT, NeverHappenedError, ToolError, kubectl, wait_for

# An API server that is away comes back within seconds; later the moment has passed.
_TRY_SECONDS = 15
_CRASH_SECONDS = 120
_CRASH_AGAIN_SECONDS = 3
_UNTOUCHED = "Nothing was crashed"
_LABELS = {
    "operator": "app.kubernetes.io/component=operator",
    "api": "app.kubernetes.io/component=api",
    "runner": "app.kubernetes.io/component=runner",
    "database": "app.kubernetes.io/name=postgres",
    "mail": "app.kubernetes.io/name=mail",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a strike, in words."""

    effect: str
    had_effect: bool


@dataclass(frozen=True)
class Hit:
    """A strike as it was carried out; `at` is seconds since the epoch."""

    at: float
    strike: Strike
    effect: str
    had_effect: bool


# Who was hit, by name; nobody where it is worth another look.
Blow = Callable[[Strike], list[str]]
# A fault that lasts: it ends when it is mended.
LastingBlow = Callable[[Strike], Outcome]


class Striker:
    """Carries strikes out in one namespace, and on the machine's cluster.

    `blows` and `lasting` are for what is no pod and no component; `leader` names the pod of the
    operator that leads, which is the one to hit.
    """

    def __init__(
        self,
        namespace: str,
        say: Callable[[str], None],
        blows: Mapping[Fault, Blow],
        lasting: Mapping[Fault, LastingBlow],
        leader: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._namespace = namespace
        self._say = say
        self._blows = blows
        self._lasting = lasting
        self._leader = leader
        self._crash: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._struck: Counter[str] = Counter()
        self.hits: list[Hit] = []
        self.struck_pods: set[str] = set()
        # By export, how often a pod of its mails was hit.
        self.struck_mails: Counter[str] = Counter()

    def strike(self, strike: Strike) -> None:
        """Do it; a fault that finds nobody, or that is refused, is told and left at that."""
        if strike.fault.manner is Manner.CRASH:
            if self._crash is not None:
                self._crash.join()
            # Pods are struck while the cluster limps: that is half of the point.
            self._crash = self._begin(strike, _crash_component)
            return
        if (lasting := self._lasting.get(strike.fault)) is not None:
            self._begin(strike, lasting)
            return
        blow = self._blows.get(strike.fault, self._strike_pods)
        try:
            effects = wait_for(lambda: blow(strike) or None, "a victim", _TRY_SECONDS, every=0.5)
        except NeverHappenedError:
            self._told(strike, Outcome("nobody to hit", had_effect=False))
            return
        self._told(strike, Outcome(", ".join(effects), had_effect=True))

    def settle(self) -> None:
        """Wait until everything that lasts is mended."""
        for thread in self._threads:
            thread.join()

    def counts(self) -> Counter[Fault]:
        """How often each fault hit somebody."""
        return Counter(hit.strike.fault for hit in self.hits if hit.had_effect)

    def _begin(self, strike: Strike, blow: LastingBlow) -> threading.Thread:
        def work() -> None:
            try:
                outcome = blow(strike)
            except Exception as error:  # noqa: BLE001 - a thread's error would be seen by nobody
                outcome = Outcome(f"{type(error).__name__}: {error}", had_effect=False)
            self._told(strike, outcome)

        thread = threading.Thread(target=work, name=str(strike.fault))
        self._threads.append(thread)
        thread.start()
        return thread

    def _strike_pods(self, strike: Strike) -> list[str]:
        strike_pod = self._kill_inside if strike.fault.manner is Manner.SIGKILL else self._delete
        struck = [
            pod
            for pod in self._victims(strike)
            if strike_pod(pod, by_force=strike.fault.manner is Manner.FORCE)
        ]
        self._struck.update(map(_owner, struck))
        self.struck_pods |= {pod["metadata"]["uid"] for pod in struck}
        for pod in struck:
            labels = pod["metadata"].get("labels", {})
            if labels.get(names.LABEL_TASK, "").startswith("deliver"):
                self.struck_mails[labels[names.LABEL_JOB_ID]] += 1
        return [pod["metadata"]["name"] for pod in struck]

    def _victims(self, strike: Strike) -> list[dict[str, Any]]:
        try:
            found = kubectl(
                "-n", self._namespace, "get", "pods", "-l", _LABELS[strike.fault.victim], "-o",
                "json", "--request-timeout=5s", timeout=10,
            )  # fmt: skip
        except (ToolError, subprocess.TimeoutExpired):
            return []
        pods = sorted(
            (pod for pod in json.loads(found)["items"] if _is_running(pod)),
            key=lambda pod: str(pod["metadata"]["name"]),
        )
        if strike.fault.everyone:
            return pods
        if strike.fault.victim == "operator":
            leading = [pod for pod in pods if pod["metadata"]["name"] == self._leader()]
            return leading or pods[:1]
        return choose(pods, self._struck, strike.pick)

    def _kill_inside(self, pod: dict[str, Any], *, by_force: bool) -> bool:
        return bool(kill_inside(pod["metadata"]["uid"]))

    def _delete(self, pod: dict[str, Any], *, by_force: bool) -> bool:
        options = ["--grace-period=0", "--force"] if by_force else []
        try:
            kubectl(
                "-n", self._namespace, "delete", "pod", pod["metadata"]["name"], "--wait=false",
                "--request-timeout=5s", *options, timeout=10,
            )  # fmt: skip
        except (ToolError, subprocess.TimeoutExpired):
            return False
        return True

    def _told(self, strike: Strike, outcome: Outcome) -> None:
        self.hits.append(Hit(time.time(), strike, outcome.effect, outcome.had_effect))
        self._say(f"{strike.fault}: {outcome.effect}")


def _crash_component(strike: Strike) -> Outcome:
    began = time.monotonic()
    deadline = began + _CRASH_SECONDS
    while True:
        code, complaint = _crash_once(strike)
        # A busy API server may look as if the node weren't ready: then nothing was done.
        if code == 0 or _UNTOUCHED not in complaint or time.monotonic() > deadline:
            break
        time.sleep(_CRASH_AGAIN_SECONDS)
    took = f"away and back in {time.monotonic() - began:.0f} s"
    return Outcome(complaint or took, had_effect=code == 0)


def _crash_once(strike: Strike) -> tuple[int, str]:
    command = [sys.executable, "-m", "local_cluster", "crash", strike.fault.victim]
    with subprocess.Popen(
        [*command, f"--seconds={strike.seconds}"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "cluster")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Of its own session: what stops this run must not stop the repair.
        start_new_session=True,
    ) as crash:
        _, complaint = crash.communicate()
        return crash.returncode, complaint.strip()


def choose(
    pods: Sequence[dict[str, Any]], struck: Mapping[str, int], pick: int
) -> list[dict[str, Any]]:
    """One of the pods, or none where there are none.

    One whose owner was struck least: an export whose every attempt is killed has to fail, and
    with a reason that can't be told from the operator's mistakes.
    """
    fewest = min((struck.get(_owner(pod), 0) for pod in pods), default=0)
    candidates = [pod for pod in pods if struck.get(_owner(pod), 0) == fewest]
    return candidates and [candidates[pick % len(candidates)]]


def _owner(pod: dict[str, Any]) -> str:
    owners = pod["metadata"].get("ownerReferences", [])
    return owners[0]["name"] if owners else str(pod["metadata"]["name"])


def _is_running(pod: dict[str, Any]) -> bool:
    return bool(
        pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    )
