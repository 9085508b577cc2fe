"""A chaos run: exports are requested, everything is struck, and then the promises are checked."""

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chaos_verdict as verdict
from backupexport_contract import names
from chaos_callers import Callers
from chaos_clock import Clock, reported_by
from chaos_databases import Probe, load
from chaos_effects import idle_faults, without_effect
from chaos_evaluation import (
    count_answers,
    expires_soon,
    files_on,
    mails_by_address,
    other_answers,
    restored_contents,
    table,
    wait_for_ends,
)
from chaos_evidence import Evidence
from chaos_faults import Hit, Striker
from chaos_freeze import Freezer
from chaos_objects import Objects
from chaos_pods import (
    Mailing,
    PodRun,
    early_ends,
    forgotten_cancels,
    repeated,
    too_many_at_once,
    writes_after_thaw,
    wrong_mails,
)
from chaos_schedule import Fault, Manner, Project, Strike, orders, strikes
from chaos_verdict import Expectation, Export, Outage
from chaos_volume import SIZE, Filler
from chaos_watch import Ledger, Watch
from node_volume import SmallVolume, node_of_this_machine, small_volume
from playground.forward import forwarded
from playground.mail_server import MailServer
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
_OUTAGE_SECONDS = 20.0


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
    # A short one may find nobody for some of them.
    hits_with_all: bool = False

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
    """The installation that is struck; `root` is the volume's own, where it can be filled up."""

    namespace: str
    server: Postgres
    mail: MailServer
    volume: ExportsVolume
    root: Path | None
    clock: Clock
    probe: Probe
    apis: Sequence[Api]
    contents: dict[str, str]

    def mails(self) -> Counter[str]:
        """How many mails each address has got."""
        return mails_by_address(self.mail)


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
            kubectl("delete", "namespace", name, "--wait=true", timeout=900)


def _set_up(plan: Plan, story: Story, namespace: str, stack: ExitStack) -> Stage:
    server = Postgres(namespace, persistent=True)
    server.start()
    mail = MailServer(namespace)
    mail.start()
    small = _small_volume(plan, namespace, stack)
    release = Release(namespace)
    claim = f"{release.name}-exports" if small is None else small.claim
    release.install(
        {
            "storage": {"size": "5Gi", "keep": False}
            if small is None
            else {"existingClaim": small.claim},
            # The limit is not what is tested here.
            "api": {"rateLimit": {"exports": "1000/minute"}},
            "runner": {"backoffLimit": BACKOFF_LIMIT},
            "publicUrl": "https://exports.example.com",
            "deliveries": {"email": _by_mail(mail)},
        }
    )
    contents = load(server, list(dict.fromkeys(plan.projects)))
    volume = ExportsVolume(namespace, claim, server)
    volume.open()
    probe = Probe(server)
    probe.start()
    clock = Clock()
    if any(kind.manner is Manner.SET_BACK for kind in plan.kinds):
        stack.enter_context(reported_by(clock, namespace))
    url = stack.enter_context(forwarded(namespace, f"{release.name}-api"))
    callers = [f"caller-{number}" for number in range(plan.callers)]
    apis = [Api(url, release.token(caller, "--all-projects")) for caller in callers]
    story.say(f"installed in {namespace}")
    root = None if small is None else small.root
    return Stage(namespace, server, mail, volume, root, clock, probe, apis, contents)


def _small_volume(plan: Plan, namespace: str, stack: ExitStack) -> SmallVolume | None:
    """A volume that can be filled up, where that is wanted and this machine is the node."""
    if not any(kind.manner is Manner.FILL for kind in plan.kinds):
        return None
    node = node_of_this_machine()
    if node is None:
        raise NeverHappenedError("the node is another machine, or this is not root: CLUSTER=native")
    return stack.enter_context(small_volume(namespace, node, SIZE))


def _by_mail(mail: MailServer) -> dict[str, Any]:
    return {
        "host": mail.host,
        "port": mail.starttls_port,
        "from": "exports@example.com",
        "caCertificates": mail.authority,
        "secretRef": {"name": mail.login_secret},
    }


@dataclass(frozen=True)
class Seen:
    """What a run has done and seen, when all is quiet."""

    callers: Callers
    ledger: Ledger
    striker: Striker
    objects: Objects
    filler: Filler | None
    freezer: Freezer
    cuts: int
    exports: Sequence[Export]


def _strike_and_judge(plan: Plan, story: Story, stage: Stage) -> list[str]:
    seen = _strike(plan, story, stage)
    for line in table(list(seen.ledger.last.values()), seen.ledger, seen.callers.deliveries):
        story.say(line)
    return [
        *(sin for delivery in seen.callers.deliveries for sin in delivery.sins),
        *_judged_faults(plan, story, stage, seen),
        *_judged_exports(plan, story, stage, seen),
        *_judged_pods(plan, stage, seen),
        *other_answers(stage.apis, seen.callers.deliveries, seen.exports),
    ]


def _strike(plan: Plan, story: Story, stage: Stage) -> Seen:
    ledger, namespace = Ledger(), stage.namespace
    wanted = orders(plan.seed, plan.seconds * 0.9, plan.exports, plan.callers, plan.projects)
    with ExitStack() as stack:
        watches = [
            stack.enter_context(Watch(f"/{path.format(namespace)}", told))
            for path, told in (
                ("apis/batch/v1/namespaces/{}/jobs", ledger.told_job),
                ("api/v1/namespaces/{}/pods", ledger.told_pod),
                ("apis/coordination.k8s.io/v1/namespaces/{}/leases", ledger.told_lease),
                (f"apis/{names.API_VERSION}/namespaces/{{}}/backupexports", ledger.told_export),
                (f"apis/{names.API_VERSION}/namespaces/{{}}/exporttargets", ledger.told_target),
            )
        ]
        for watch in watches:
            watch.wait()
        story.began = time.monotonic()
        callers = stack.enter_context(Callers(stage.apis, wanted, story.clock))
        projects = [project.name for project in dict.fromkeys(plan.projects)]
        objects = Objects(namespace, stage.apis[0], projects, ledger, callers.accepted)
        freezer = Freezer(namespace, ledger)
        filler = None if stage.root is None else Filler(stage.root, ledger.full_volumes)
        lasting = objects.lasting | freezer.lasting | stage.clock.lasting
        if filler is not None:
            lasting |= filler.lasting
        striker = Striker(namespace, story.say, objects.blows, lasting, ledger.leader_pod)
        for strike in plan.strikes:
            time.sleep(max(0.0, strike.second - story.clock()))
            striker.strike(strike)
        striker.settle()
        story.say("the last fault is over")
        callers.join()
        accepted = callers.accepted()
        story.say(f"{len(accepted)} requests are accepted: {count_answers(callers.deliveries)}")
        exports = wait_for_ends(namespace, {each.job_id for each in accepted}, ledger)
        story.say("quiet")
        _wait_for_watches(ledger, exports)
        cuts = sum(watch.cuts for watch in watches)
    return Seen(callers, ledger, striker, objects, filler, freezer, cuts, exports)


def _judged_faults(plan: Plan, story: Story, stage: Stage, seen: Seen) -> list[str]:
    """The faults hit, and whoever was hit showed it."""
    ledger, hits = seen.ledger, seen.striker.counts()
    gone = [each for name, each in ledger.gone.items() if name not in seen.objects.deleted]
    effects = {
        "takeovers": len(ledger.leaders) - 1,
        "operator_restarts": ledger.restarts("operator"),
        "api_pods_gone": ledger.parts_gone("api"),
        "api_restarts": ledger.restarts("api"),
        "runners_lost": ledger.runners_lost(seen.striker.struck_pods),
        "repeated_attempts": len(repeated(ledger.runs)),
        "database_pods_gone": ledger.parts_gone("postgres"),
        "mail_pods_gone": ledger.parts_gone("mail"),
        "server_outages": seen.cuts,
        "cancelled": sum(1 for each in ledger.last.values() if each.phase == "Cancelled"),
        "exports_gone": len(seen.objects.deleted & ledger.gone.keys()),
        "jobs_gone": len(seen.objects.struck_jobs & ledger.jobs_gone),
        "targets_suspended": len(ledger.targets_suspended),
        "targets_gone": len(ledger.targets_gone),
        "full_volumes": ledger.full_volumes(),
        "skewed_reports": stage.clock.wrong,
        "expired": sum(1 for each in gone if each.export.expires is not None),
        "mails": sum(stage.mails().values()),
    }
    story.say("effects: " + ", ".join(f"{count} {name}" for name, count in effects.items()))
    planned = [strike.fault for strike in plan.strikes]
    return [
        *(f"{hit.strike.fault}: {hit.effect}" for hit in seen.striker.hits if _failed(hit)),
        *without_effect(hits, effects),
        *(idle_faults(planned, hits) if plan.hits_with_all else []),
    ]


def _judged_exports(plan: Plan, story: Story, stage: Stage, seen: Seen) -> list[str]:
    """What exports, their files and their contents say."""
    objects, ledger, exports = seen.objects, seen.ledger, seen.exports
    outages = stage.probe.outages() + [
        Outage(hit.at, hit.at + _OUTAGE_SECONDS)
        for hit in seen.striker.hits
        if hit.strike.fault.victim == "database" and hit.had_effect
    ]
    for outage in outages:
        story.say(f"no database for {outage.ended - outage.began:.1f} s")
    expected = Expectation(
        outages=outages,
        attempts_allowed=BACKOFF_LIMIT + 1,
        fails_with={project.name: project.fails_with for project in plan.projects},
        full=[] if seen.filler is None else seen.filler.full,
        cancelled=objects.asked_to_cancel,
        jobless=objects.jobless,
        struck=ledger.exports_of(seen.striker.struck_pods),
        away=objects.away,
    )
    deleted = [each.export for name, each in ledger.gone.items() if name in objects.deleted]
    fleeting = [export for export in deleted if expires_soon(export)]
    lasting = [export for export in deleted if not expires_soon(export)]
    expired = [each.export for name, each in ledger.gone.items() if name not in objects.deleted]
    refusals = [each for delivery in seen.callers.deliveries for each in delivery.refusals]
    restored, unrestored = restored_contents(stage.volume, stage.server, exports)
    return [
        *verdict.not_one_each(seen.callers.accepted(), exports, ledger.gone.keys()),
        *verdict.unkept(ledger.gone.values(), exports, objects.deleted, time.time()),
        *verdict.changed_retention(ledger.accepted_with, ledger.last.values()),
        *verdict.unfinished(exports),
        *verdict.refused_for_nothing(refusals, objects.away),
        *verdict.second_jobs(ledger.jobs),
        *verdict.changed_after_the_end(ledger.phases),
        *verdict.untrue_ends([*exports, *expired], expected),
        *verdict.wrong_files(files_on(stage.volume), exports, lasting, expired, fleeting),
        *unrestored,
        *verdict.wrong_contents(restored, stage.contents, exports),
        *verdict.others_data(restored, exports),
    ]


def _judged_pods(plan: Plan, stage: Stage, seen: Seen) -> list[str]:
    """What the pods' own times say, and their mails."""
    ledger, objects = seen.ledger, seen.objects
    limits = {names.project_hash(project.name): project.at_once for project in plan.projects}
    struck = seen.striker.struck_mails + objects.struck_mails
    mailings = [
        Mailing(
            each.job_id,
            each.order.address,
            must_come=each.job_id not in objects.deleted,
            struck=struck[each.job_id],
        )
        for each in seen.callers.deliveries
        if each.job_id is not None and each.order.address is not None
    ]
    senders: dict[str, list[PodRun]] = defaultdict(list)
    for run in ledger.runs:
        if run.task.startswith("deliver"):
            senders[run.export].append(run)
    return [
        *too_many_at_once(ledger.runs, limits),
        *early_ends(ledger.last.values(), ledger.runs),
        *forgotten_cancels(objects.cancelled, ledger.runs),
        *writes_after_thaw(seen.freezer.freezes),
        *wrong_mails(mailings, stage.mails(), senders),
    ]


def _wait_for_watches(ledger: Ledger, exports: Sequence[Export]) -> None:
    """The watches may be a moment behind what a list has just told."""

    def look() -> bool:
        return all(ledger.phases[export.name][-1:] == [export.phase] for export in exports)

    wait_for(look, "the watches to have seen all ends", 240)


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
        wait_for(look, "a whole cluster", 240, every=2)
    except NeverHappenedError:
        return [f"the cluster: {said}"]
    return []
