"""`make bench-operator`: how fast the operator makes Jobs, and what it costs.

The operator runs as a process of the machine, against the cluster's API server, with the chart's
settings and permissions.  No node takes the runners' pods: Jobs are made and pods wait, and
where an export has to be carried out, the benchmark writes the pods' states as a kubelet would.
Beside it a bare kopf handler makes the same Jobs, in turn with it, because the machine is not
the same from one minute to the next.
"""

import asyncio
import secrets
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import many_exports
import measures
from cluster_api import ClusterApi, cluster_api
from cluster_kinds import ensure_crds
from contenders import Contender, bare_operator
from counting_proxy import CountingProxy, Request, calls, proxy_of
from export_field import ExportField
from journal import Step
from measures import Rounds
from operator_installation import Installation
from operator_starts import RESYNC_SECONDS, Start, start
from playground.tools import namespace

NAMESPACE = f"backupexport-bench-{secrets.token_hex(3)}"
BARE, EMPTY, MANY = (f"{NAMESPACE}-{name}" for name in ("bare", "empty", "many"))

ONE_BY_ONE = 20
# Long enough for both operators to have nothing to do.
PAUSE_SECONDS = 0.3
BURST, IN_FLIGHT, ROUNDS = 300, 50, 2
CARRIED_OUT, AT_ONCE = 100, 10
COUNTED = 30
FINISHED, UNFINISHED, STARTS = 10_000, 100, 3
MOST_AT_A_TARGET = 100
# The limits are not what is measured.
NO_LIMITS = {"MAX_CONCURRENT": "0"}


def main() -> int:
    """Print the tables and the bench line."""
    ensure_crds()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in (NAMESPACE, BARE, EMPTY, MANY):
            stack.enter_context(namespace(name))
            few = name == EMPTY
            projects = many_exports.PROJECTS[:1] if few else many_exports.PROJECTS
            many_exports.make_targets(name, projects, maxConcurrent=MOST_AT_A_TARGET)
        figures = asyncio.run(_measure(folder))
    print(measures.bench_line(figures))
    return 0


async def _measure(folder: Path) -> dict[str, float]:
    async with cluster_api(IN_FLIGHT + 10) as api:
        figures = await _speed(api, folder)
        with proxy_of(api.server, api.context) as proxy:
            empty = await _empty(api, folder, proxy)
            counted = await _requests(api, folder, proxy)
            many = await _many(api, folder, proxy)
    print(f"\n{'start-up':<40}{'ready s':>11}{'CPU s':>11}{'RSS MiB':>11}{'writes':>11}")
    for name, starts in (("with nothing", empty), ("with 10,000 finished, 100 waiting", many)):
        rows = zip(*((one.seconds, one.cpu, one.rss, one.writes) for one in starts), strict=True)
        seconds, cpu, rss, writes = map(statistics.median, rows)
        print(f"{name:<40}{seconds:>11.2f}{cpu:>11.2f}{rss:>11.1f}{writes:>11.0f}")
    rss_many, rss_empty = (statistics.median(one.rss for one in starts) for starts in (many, empty))
    return {
        **figures,
        "requests_per_export": counted,
        "start_10k_s": statistics.median(one.seconds for one in many),
        "rss_mib": rss_many,
        "rss_10k_vs_empty": rss_many / rss_empty,
    }


async def _speed(api: ClusterApi, folder: Path) -> dict[str, float]:
    async with (
        ExportField(api, NAMESPACE).watched() as our_field,
        ExportField(api, BARE).watched() as bare_field,
    ):
        installation = Installation(NAMESPACE, folder, **NO_LIMITS)
        with installation.operator() as operator, ExitStack() as stack:
            our = Contender("operator", our_field, operator.pid)
            first = await our_field.created(1, 1)
            job = await our_field.a_job()
            # For the ServiceAccount of the Jobs' pods.
            Installation(BARE, folder)
            contenders = our, stack.enter_context(bare_operator(bare_field, job, folder))
            await bare_field.created(1, 1)
            await our_field.settled(first)
            idle = await _one_by_one(contenders)
            bursts, names = await _bursts(contenders)
            carried_out = names[:CARRIED_OUT]
            await our_field.carried_out(carried_out, AT_ONCE)
        journal = our_field.journal
    print("\nfrom Job and pod to a finished export")
    print(
        measures.latency_table(
            {
                "pod ended -> Job complete": journal.between(
                    Step.ENDED, Step.COMPLETE, carried_out
                ),
                "pod ended -> Succeeded": journal.between(Step.ENDED, Step.SUCCEEDED, carried_out),
                "Job complete -> Succeeded": journal.between(
                    Step.COMPLETE, Step.SUCCEEDED, carried_out
                ),
            }
        )
    )
    return {
        "idle_p50_ms": measures.percentile(idle, 50) * 1000,
        "burst_p99_s": bursts.p99 / 1000,
        "burst_rate": bursts.rate,
    }


async def _one_by_one(contenders: Sequence[Contender]) -> list[float]:
    latencies: dict[str, list[float]] = {}
    for _ in range(ONE_BY_ONE):
        for contender in contenders:
            await asyncio.sleep(PAUSE_SECONDS)
            created = await contender.field.created(1, 1)
            for step in (Step.SENT, Step.STORED):
                row = f"{contender.name}: {step} -> Job"
                seconds = contender.field.journal.between(step, Step.JOB, created)
                latencies.setdefault(row, []).extend(seconds)
    print(f"\n{ONE_BY_ONE} exports one by one")
    print(measures.latency_table(dict(sorted(latencies.items()))))
    return latencies[f"{contenders[0].name}: {Step.SENT} -> Job"]


async def _bursts(contenders: Sequence[Contender]) -> tuple[Rounds, list[str]]:
    """What ours did, and the names of its exports."""
    rounds = {contender.name: Rounds() for contender in contenders}
    cpu: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    names: list[str] = []
    for turn in range(ROUNDS):
        _say(f"burst {turn + 1} of {ROUNDS}")
        for contender in contenders if turn % 2 else reversed(contenders):
            journal, before = contender.field.journal, contender.cpu()
            created = await contender.field.created(BURST, IN_FLIGHT)
            await contender.field.settled(created)
            cpu[contender.name].append((contender.cpu() - before) / BURST * 1000)
            rounds[contender.name].add(
                journal.rate(Step.SENT, Step.JOB, created),
                journal.between(Step.SENT, Step.JOB, created),
            )
            if contender is contenders[0]:
                names += created
    our, other = (contender.name for contender in contenders)
    print(f"\n{BURST} exports, {IN_FLIGHT} at once, {ROUNDS} rounds: median (min-max)")
    print(measures.table(rounds, {our: other, other: other}, "of bare", "Jobs/s"))
    for name, spent in cpu.items():
        print(f"{name}: {statistics.median(spent):.1f} ms of processor time for each export")
    if measures.unsteady(rounds):
        print("UNSTEADY: the machine was busy")
    return rounds[our], names


async def _empty(api: ClusterApi, folder: Path, proxy: CountingProxy) -> list[Start]:
    field = ExportField(api, EMPTY)
    installation = Installation(EMPTY, folder, RESYNC_SECONDS=str(RESYNC_SECONDS), **NO_LIMITS)
    return await _starts(field, installation, proxy, 1)


async def _starts(
    field: ExportField, installation: Installation, proxy: CountingProxy, unfinished: int
) -> list[Start]:
    # A first operator has something to say to each new target and export.
    async with field.watched():
        with installation.operator(proxy.port):
            await field.settled(await field.created(unfinished, AT_ONCE))
    return [await start(field, installation, proxy) for _ in range(STARTS)]


async def _requests(api: ClusterApi, folder: Path, proxy: CountingProxy) -> float:
    """The requests for each export, from its creation until it is finished."""
    async with ExportField(api, EMPTY).watched() as field:
        many_exports.make_targets(EMPTY, maxConcurrent=MOST_AT_A_TARGET)
        with Installation(EMPTY, folder, **NO_LIMITS).operator(proxy.port):
            await field.settled(await field.created(1, 1))
            proxy.requests.clear()
            exports = await field.created(COUNTED, AT_ONCE)
            await field.settled(exports)
            await field.carried_out(exports, AT_ONCE)
            seen = [request for request in proxy.requests if _is_for_an_export(request)]
    for_want_of_a_node = [request for request in seen if request.names("Unschedulable")]
    rest = [request for request in seen if not request.names("Unschedulable")]
    print(f"\nrequests for each of {COUNTED} exports that succeed, without watches")
    for call, count in sorted(calls(rest).items()):
        print(f"{call:<40}{count / COUNTED:>6.2f}")
    print(f"{'together':<40}{len(rest) / COUNTED:>6.2f}")
    print(
        f"and {len(for_want_of_a_node) / COUNTED:.2f} to say that no node takes its pod,"
        " which is the benchmark's own doing"
    )
    return len(rest) / COUNTED


def _is_for_an_export(request: Request) -> bool:
    return not request.is_watch and not request.is_for("leases")


async def _many(api: ClusterApi, folder: Path, proxy: CountingProxy) -> list[Start]:
    await asyncio.to_thread(many_exports.fill, MANY, FINISHED, finished=True)
    _say(f"{FINISHED} finished exports made")
    field = ExportField(api, MANY)
    installation = Installation(MANY, folder, RESYNC_SECONDS=str(RESYNC_SECONDS), **NO_LIMITS)
    try:
        return await _starts(field, installation, proxy, UNFINISHED)
    finally:
        # The namespace's own end would delete them all at once.
        for project in many_exports.PROJECTS:
            await field.remove(f"spec.projectId={project}")


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
