"""A chaos run: exports are requested, everything is struck, and then the promises are checked."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import chaos_verdict as verdict
from backupexport_contract import names, timestamps
from backupexport_contract.reasons import REST_STATUS, Phase
from chaos_callers import Callers, Delivery, ask
from chaos_databases import MAX_CONCURRENT, Probe, fingerprint, load
from chaos_evidence import Evidence
from chaos_faults import Striker
from chaos_schedule import Fault, Manner, Project, Strike, orders, strikes
from chaos_verdict import Artifact, Expectation, Export, File, Outage
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
    ToolError,
    kubectl,
    make_namespace,
    wait_for,
)

BACKOFF_LIMIT = 4
# From the last fault to the last end: backoff doubles from 10 s.
_PATIENCE_SECONDS = 300
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
    """Gone afterwards, finalizers and all; KEEP_NAMESPACE=1 leaves it after a failure."""
    make_namespace(name)
    try:
        yield
    except BaseException:
        if os.environ.get("KEEP_NAMESPACE") != "1":
            kubectl("delete", "namespace", name, "--wait=false")
        raise
    kubectl("delete", "namespace", name, "--wait=true", timeout=180)


def _set_up(plan: Plan, story: Story, namespace: str, stack: ExitStack) -> Stage:
    server = Postgres(namespace, persistent=True)
    server.start()
    release = Release(namespace)
    release.install(
        {
            "storage": {"size": "5Gi", "keep": False},
            "auth": {"jwt": {"tokensWithoutProjects": "all"}},
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
    apis = [Api(url, release.token(f"caller-{number}")) for number in range(plan.callers)]
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
        story.say(f"{len(accepted)} requests are accepted: {_answers(callers.deliveries)}")
        exports = _wait_for_ends(stage, {each.job_id for each in accepted})
        story.say("quiet")
        _wait_for_watches(ledger, exports)
    outages = stage.probe.outages() + [
        Outage(hit.at, hit.at + _OUTAGE_SECONDS)
        for hit in striker.hits
        if hit.strike.fault.victim == "database" and hit.had_effect
    ]
    for outage in outages:
        story.say(f"no database for {outage.ended - outage.began:.1f} s")
    restored, unrestored = _restored(stage, exports)
    _print_table(story, exports, ledger, callers.deliveries)
    flaws = {project.name: project.fails_with for project in plan.projects}
    limits = {names.project_hash(project): MAX_CONCURRENT for project in flaws}
    return [
        *(sin for delivery in callers.deliveries for sin in delivery.sins),
        *(f"{hit.strike.fault}: {hit.effect}" for hit in striker.hits if _failed(hit.strike, hit)),
        *verdict.not_one_each(accepted, exports),
        *verdict.unfinished(exports),
        *verdict.second_jobs(ledger.jobs),
        *verdict.changed_after_the_end(ledger.phases),
        *verdict.too_many_at_once(ledger.most_at_once, limits),
        *verdict.untrue_ends(exports, Expectation(outages, BACKOFF_LIMIT + 1, flaws)),
        *verdict.wrong_files(_files(stage.volume), exports),
        *unrestored,
        *verdict.wrong_contents(restored, stage.contents, exports),
        *_other_answers(stage.apis, callers.deliveries, exports),
    ]


def _failed(strike: Strike, hit: Any) -> bool:
    """A crash that could not be made, or repaired, says that the run was not what it should be."""
    return strike.fault.manner is Manner.CRASH and not hit.had_effect


def _answers(deliveries: Sequence[Delivery]) -> str:
    total: dict[str, int] = {}
    for delivery in deliveries:
        for answer, count in delivery.answers.items():
            total[answer] = total.get(answer, 0) + count
    return ", ".join(f"{count} x {answer}" for answer, count in sorted(total.items()))


def _wait_for_ends(stage: Stage, wanted: set[str]) -> list[Export]:
    """All exports, once those wanted have ended and no runner is left, or time is up."""
    latest: list[Export] = []

    def look() -> bool:
        try:
            found = kubectl("-n", stage.namespace, "get", "bex", "-o", "json", timeout=20)
            latest[:] = [read_export(item) for item in json.loads(found)["items"]]
            pods = kubectl(
                "-n", stage.namespace, "get", "pods", "-o", "name", "-l",
                "app.kubernetes.io/component=runner",
                "--field-selector=status.phase!=Succeeded,status.phase!=Failed",
            )  # fmt: skip
        except (ToolError, subprocess.TimeoutExpired):
            return False
        ended = {export.name for export in latest if export.phase in verdict.FINISHED}
        return not pods and ended >= wanted and len(ended) == len(latest)

    with contextlib.suppress(NeverHappenedError):
        wait_for(look, "all ends", _PATIENCE_SECONDS, every=1)
    return latest


def _wait_for_watches(ledger: Ledger, exports: Sequence[Export]) -> None:
    """The watches may be a moment behind what a list has just told."""

    def look() -> bool:
        return all(ledger.phases[export.name][-1:] == [export.phase] for export in exports)

    wait_for(look, "the watches to have seen all ends", 60)


def read_export(item: dict[str, Any]) -> Export:
    """A BackupExport as far as it is judged."""
    status = item.get("status", {})
    completed = status.get("completionTime")
    artifact = status.get("artifact")
    return Export(
        name=item["metadata"]["name"],
        project=item["spec"]["projectId"],
        phase=status.get("phase", "Pending"),
        reason=status.get("reason"),
        message=status.get("message"),
        attempts=status.get("attempts", 0),
        created=timestamps.from_text(item["metadata"]["creationTimestamp"]).timestamp(),
        completed=timestamps.from_text(completed).timestamp() if completed else None,
        artifact=artifact and Artifact(artifact["path"], artifact["sha256"], artifact["sizeBytes"]),
    )


def _files(volume: ExportsVolume) -> list[File]:
    """Every file on the volume with its size and checksum."""
    sizes = volume.run("find", ".", "-type", "f", "-printf", "%s %P\\n").splitlines()
    sums = volume.run("find", ".", "-type", "f", "-exec", "sha256sum", "{}", "+").splitlines()
    digest_of = {path.removeprefix("./"): digest for digest, _, path in map(_split_sum, sums)}
    found = (line.split(" ", 1) for line in sizes)
    return [File(path, int(size), digest_of.get(path)) for size, path in found]


def _split_sum(line: str) -> tuple[str, str, str]:
    return line.partition("  ")


def _restored(stage: Stage, exports: Sequence[Export]) -> tuple[dict[str, str], list[str]]:
    """Fingerprints of what the artifacts restore to, and what went wrong with that."""
    fingerprints, sins = {}, []
    for export in exports:
        if export.artifact is None:
            continue
        try:
            stage.volume.restore(export.artifact.path, "restored")
            fingerprints[export.name] = fingerprint(stage.server, "restored")
        except ToolError as error:
            sins.append(f"{export.name}: {export.artifact.path} does not restore: {error}")
    return fingerprints, sins


def _other_answers(
    apis: Sequence[Api], deliveries: Sequence[Delivery], exports: Sequence[Export]
) -> list[str]:
    """What REST says is what the resource says, and a key still means its job."""
    sins = []
    phases = {export.name: export.phase for export in exports}
    for delivery in deliveries:
        if delivery.job_id is None or delivery.job_id not in phases:
            continue
        api, wanted = apis[delivery.order.caller], REST_STATUS[Phase(phases[delivery.job_id])]
        told = api.job(delivery.job_id)["status"]
        if told != wanted:
            sins.append(f"{delivery.job_id}: REST says {told}, the resource {wanted}")
        again = ask(api, delivery.order)
        job_id = again.body["data"]["job_id"] if again and again.status == 202 else again
        if job_id != delivery.job_id:
            sins.append(f"{delivery.order.key}: was {delivery.job_id}, and repeated is {job_id}")
    return sins


def _print_table(
    story: Story, exports: Sequence[Export], ledger: Ledger, deliveries: Sequence[Delivery]
) -> None:
    formats = {each.job_id: dict(each.order.fields) for each in deliveries}
    for export in sorted(exports, key=lambda export: export.created):
        fields = formats.get(export.name, {})
        took = f"{export.completed - export.created:5.0f} s" if export.completed else "no end"
        story.say(
            f"  {export.name} {export.project:22} {fields.get('format', '?'):3} "
            f"{fields.get('compression', 'none'):4} {export.phase:9} {export.reason or '':20} "
            f"attempts {export.attempts} pods {len(ledger.pods[export.name])} "
            f"jobs {len(ledger.jobs[export.name])} {took}"
        )


def _cluster_is_whole(kinds: Sequence[Fault]) -> list[str]:
    """What `make cluster-status` says, where the cluster itself was struck."""
    if not any(kind.manner is Manner.CRASH for kind in kinds):
        return []
    status = subprocess.run(
        [sys.executable, "-m", "local_cluster", "status"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "cluster")},
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if status.returncode == 0 else [f"the cluster: {status.stdout}{status.stderr}"]
