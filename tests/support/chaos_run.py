"""A chaos run: exports are requested, everything is struck, and then the promises are checked."""

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import chaos_verdict as verdict
from backupexport_contract import names
from chaos_callers import Callers
from chaos_databases import MAX_CONCURRENT, Probe, load
from chaos_evaluation import (
    count_answers,
    files_on,
    other_answers,
    restored_contents,
    table,
    wait_for_ends,
)
from chaos_evidence import Evidence
from chaos_faults import Hit, Striker
from chaos_schedule import Fault, Manner, Project, Strike, orders, strikes
from chaos_verdict import Expectation, Export, Outage
from chaos_watch import Ledger, Watch
from playground.forward import forwarded
from playground.postgres import Postgres
from playground.release import Release
from playground.rest import Api
from playground.restore import ExportsVolume
from playground.tools import (
    ROOT,
    STATE,
    NeverHappenedError,
    kubectl,
    make_namespace,
    wait_for,
)

BACKOFF_LIMIT = 4
# How long a struck database may be away before the probe, which asks five times a second, sees it.
_OUTAGE_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """What a run does; everything follows from the seed."""

    seed: int
    seconds: float
    exports: int
    faults: int
    callers: int
    kinds: Sequence[Fault]
    projects: Sequence[Project]

    @property
    def strikes(self) -> tuple[Strike, ...]:
        """The faults in their order."""
        return strikes(self.seed, self.seconds, self.faults, self.kinds)


@dataclass
class Story:
    """The run's log, printed as it is written."""

    lines: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def clock(self) -> float:
        """Seconds since the exports began."""
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        """One line with its time."""
        with self._turn:
            line = f"[{self.clock():6.1f}s] {text}"
            self.lines.append(line)
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


@dataclass(frozen=True)
class Stage:
    """The installation that is struck."""

    namespace: str
    server: Postgres
    volume: ExportsVolume
    probe: Probe
    apis: Sequence[Api]
    contents: dict[str, str]


def is_native() -> bool:
    """Whether the cluster's processes are this machine's own."""
    settings = (STATE / "cluster.env").read_text(encoding="utf-8").splitlines()
    return "CLUSTER=native" in settings


def run(plan: Plan) -> list[str]:
    """Carry the plan out; the promises that were broken, each in a sentence."""
    story = Story()
    story.say(f"seed {plan.seed}: {plan.exports} exports and {plan.faults} faults")
    for strike in plan.strikes:
        story.say(f"  planned at {strike.second:5.1f}s {strike.fault}")
    namespace = f"backupexport-chaos-{secrets.token_hex(3)}"
    with Evidence(namespace) as evidence:
        try:
            with _namespace(namespace), ExitStack() as stack:
                sins = _strike_and_judge(plan, story, _set_up(plan, story, namespace, stack))
                if sins:
                    _tell(evidence, story, sins)
            sins += _cluster_is_whole(plan.kinds)
        except BaseException as error:
            _tell(evidence, story, [f"{type(error).__name__}: {error}"])
            raise
    if not sins:
        evidence.discard()
    return sins


def _tell(evidence: Evidence, story: Story, sins: Sequence[str]) -> None:
    for sin in sins:
        story.say(f"BROKEN: {sin}")
    story.say(f"what there is to see: {evidence.folder}")
    evidence.collect("\n".join(story.lines))


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[None]:
    """Gone afterwards, finalizers and all; KEEP_NAMESPACE=1 leaves it for a look."""
    make_namespace(name)
    try:
        yield
    finally:
        if os.environ.get("KEEP_NAMESPACE") != "1":
            kubectl("delete", "namespace", name, "--wait=true", timeout=240)


def _set_up(plan: Plan, story: Story, namespace: str, stack: ExitStack) -> Stage:
    server = Postgres(namespace, persistent=True)
    server.start()
    release = Release(namespace)
    release.install(
        {
            "storage": {"size": "5Gi", "keep": False},
            # The limit is not what is tested here.
            "api": {"rateLimit": {"exports": "1000/minute"}},
            "runner": {"backoffLimit": BACKOFF_LIMIT},
        }
    )
    contents = load(server, list(dict.fromkeys(plan.projects)))
    volume = ExportsVolume(namespace, f"{release.name}-exports", server)
    volume.open()
    probe = Probe(server)
    probe.start()
    url = stack.enter_context(forwarded(namespace, f"{release.name}-api"))
    callers = [f"caller-{number}" for number in range(plan.callers)]
    apis = [Api(url, release.token(caller, "--all-projects")) for caller in callers]
    story.say(f"installed in {namespace}")
    return Stage(namespace, server, volume, probe, apis, contents)


def _strike_and_judge(plan: Plan, story: Story, stage: Stage) -> list[str]:
    ledger, striker = Ledger(), Striker(stage.namespace, story.say)
    wanted = orders(plan.seed, plan.seconds * 0.9, plan.exports, plan.callers, plan.projects)
    story.began = time.monotonic()
    with ExitStack() as stack:
        for path, told in (
            ("apis/batch/v1/namespaces/{}/jobs", ledger.told_job),
            ("api/v1/namespaces/{}/pods", ledger.told_pod),
            (f"apis/{names.API_VERSION}/namespaces/{{}}/backupexports", ledger.told_export),
        ):
            stack.enter_context(Watch(f"/{path.format(stage.namespace)}", told))
        callers = stack.enter_context(Callers(stage.apis, wanted, story.clock))
        for strike in plan.strikes:
            time.sleep(max(0.0, strike.second - story.clock()))
            striker.strike(strike)
        striker.settle()
        story.say("the last fault is over")
        callers.join()
        accepted = [each.accepted for each in callers.deliveries if each.accepted]
        story.say(f"{len(accepted)} requests are accepted: {count_answers(callers.deliveries)}")
        exports = wait_for_ends(stage.namespace, {each.job_id for each in accepted})
        story.say("quiet")
        _wait_for_watches(ledger, exports)
    outages = stage.probe.outages() + [
        Outage(hit.at, hit.at + _OUTAGE_SECONDS)
        for hit in striker.hits
        if hit.strike.fault.victim == "database" and hit.had_effect
    ]
    for outage in outages:
        story.say(f"no database for {outage.ended - outage.began:.1f} s")
    restored, unrestored = restored_contents(stage.volume, stage.server, exports)
    for line in table(exports, ledger, callers.deliveries):
        story.say(line)
    flaws = {project.name: project.fails_with for project in plan.projects}
    limits = {names.project_hash(project): MAX_CONCURRENT for project in flaws}
    return [
        *(sin for delivery in callers.deliveries for sin in delivery.sins),
        *(f"{hit.strike.fault}: {hit.effect}" for hit in striker.hits if _failed(hit)),
        *verdict.not_one_each(accepted, exports),
        *verdict.unfinished(exports),
        *verdict.second_jobs(ledger.jobs),
        *verdict.changed_after_the_end(ledger.phases),
        *verdict.too_many_at_once(ledger.most_at_once, limits),
        *verdict.untrue_ends(exports, Expectation(outages, BACKOFF_LIMIT + 1, flaws)),
        *verdict.wrong_files(files_on(stage.volume), exports),
        *unrestored,
        *verdict.wrong_contents(restored, stage.contents, exports),
        *other_answers(stage.apis, callers.deliveries, exports),
    ]


def _wait_for_watches(ledger: Ledger, exports: Sequence[Export]) -> None:
    """The watches may be a moment behind what a list has just told."""

    def look() -> bool:
        return all(ledger.phases[export.name][-1:] == [export.phase] for export in exports)

    wait_for(look, "the watches to have seen all ends", 60)


def _failed(hit: Hit) -> bool:
    """A crash that could not be made, or repaired, says that the run was not what it should be."""
    return hit.strike.fault.manner is Manner.CRASH and not hit.had_effect


def _cluster_is_whole(kinds: Sequence[Fault]) -> list[str]:
    """What `make cluster-status` says, where the cluster itself was struck."""
    if not any(kind.manner is Manner.CRASH for kind in kinds):
        return []
    said = ""

    def look() -> bool:
        nonlocal said
        status = subprocess.run(
            [sys.executable, "-m", "local_cluster", "status"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "cluster")},
            capture_output=True,
            text=True,
            check=False,
        )
        said = (status.stdout + status.stderr).strip()
        return status.returncode == 0

    try:
        wait_for(look, "a whole cluster", 60, every=2)
    except NeverHappenedError:
        return [f"the cluster: {said}"]
    return []
