"""`make bench-operator`: how fast the operator makes Jobs, and what it costs.

The operator runs as a process of the machine, against the cluster's API server, with the chart's
settings and permissions.  No node takes the runners' pods: Jobs are made and pods wait, and
where an export has to be carried out, the benchmark writes the pods' states as a kubelet would.
Beside it a bare kopf handler makes the same Jobs, in turn with it, because the machine is not
the same from one minute to the next.  In the end each export has one Job, and either's are alike.
Where the bare handler fails, that is told, and ours is measured without it.

No cluster has the hundred thousand finished exports with a retention: a proxy in front of the
API server answers for them (`retained_exports`).
"""

import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import benchmark
import many_exports
import measures
from bare_operator import job_for
from cluster_api import ClusterApi, cluster_api
from counting_proxy import CountingProxy, Request, address_of, calls, proxy_of
from export_field import ExportField, export_of
from journal import Step
from measures import MeasurementError, Rounds, check_equal
from operators import Contender, Installation, Start, as_template, bare_operator, start
from playground.release import ensure_crds
from retained_exports import RetainingProxy

# Enough for a start.
FEW = many_exports.PROJECTS[:1]
# Long enough for both operators to have nothing to do.
PAUSE_SECONDS = 0.3
MOST_AT_A_TARGET = 100


@dataclass(frozen=True)
class Form:
    """How much is measured."""

    one_by_one: int
    # Exports of a burst, how many are sent at once, and bursts of each contender.
    burst: int
    in_flight: int
    rounds: int
    # Exports whose pods are played to a good end, how many at once; those that are counted.
    carried_out: int
    at_once: int
    counted: int
    # What is there when the operator starts, and how often it does.
    finished: int
    unfinished: int
    starts: int
    # With a retention, and finished too.
    retained: int
    # A resync is among what an operator settles to.
    resync_seconds: int
    settling_seconds: float
    # The controllers make so many pods a second that a pause this long is their end.
    quiet_seconds: float


FULL = Form(
    one_by_one=20, burst=300, in_flight=50, rounds=1, carried_out=100, at_once=10, counted=30,
    finished=10_000, unfinished=100, starts=2, retained=100_000,
    resync_seconds=5, settling_seconds=8.0, quiet_seconds=2.0,
)  # fmt: skip
SHORT = Form(
    one_by_one=3, burst=20, in_flight=10, rounds=1, carried_out=5, at_once=5, counted=5,
    finished=200, unfinished=5, starts=1, retained=1_000,
    resync_seconds=1, settling_seconds=1.5, quiet_seconds=0.5,
)  # fmt: skip


def main() -> int:
    """Print the tables and the bench line."""
    return benchmark.run(_run, full=FULL, short=SHORT)


def _run(form: Form) -> Mapping[str, float]:
    ensure_crds()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        spaces = {
            name: stack.enter_context(benchmark.own_namespace(name))
            for name in ("operator", "bare", "empty", "many")
        }
        for name, namespace in spaces.items():
            projects = FEW if name == "empty" else many_exports.PROJECTS
            many_exports.make_targets(namespace, projects, maxConcurrent=MOST_AT_A_TARGET)
        return asyncio.run(_measure(form, spaces, folder))


async def _measure(form: Form, spaces: Mapping[str, str], folder: Path) -> dict[str, float]:
    async with cluster_api(form.in_flight + 10) as api:
        fields = {
            name: ExportField(api, namespace, form.quiet_seconds)
            for name, namespace in spaces.items()
        }
        figures = await _speed(form, fields["operator"], fields["bare"], folder)
        with proxy_of(api.server, api.context) as proxy:
            installation = Installation(fields["empty"].namespace, folder)
            benchmark.say("starts with nothing")
            empty = await _starts(form, fields["empty"], installation, proxy, unfinished=1)
            benchmark.say("requests")
            counted = await _requests(form, fields["empty"], installation, proxy)
            many = await _many(form, fields["many"], proxy, folder)
        retained = await _retained(form, fields["empty"], installation, api)
    print(f"\n{'start-up':<40}{'ready s':>11}{'CPU s':>11}{'RSS MiB':>11}{'writes':>11}")
    full = f"with {form.finished:,} finished, {form.unfinished} waiting"
    kept = f"with {form.retained:,} retained"
    for name, starts in (("with nothing", empty), (full, many), (kept, [retained])):
        rows = zip(*((one.seconds, one.cpu, one.rss, one.writes) for one in starts), strict=True)
        seconds, cpu, rss, writes = map(statistics.median, rows)
        print(f"{name:<40}{seconds:>11.2f}{cpu:>11.2f}{rss:>11.1f}{writes:>11.0f}")
    print(f"{retained.peak:.1f} MiB at most {kept}")
    rss_many, rss_empty = (statistics.median(one.rss for one in starts) for starts in (many, empty))
    return {
        **figures,
        "requests_per_export": counted,
        "start_10k_s": statistics.median(one.seconds for one in many),
        "rss_mib": rss_many,
        "rss_10k_vs_empty": rss_many / rss_empty,
        "rss_100k_retained_mib": retained.peak,
    }


async def _speed(
    form: Form, our_field: ExportField, bare_field: ExportField, folder: Path
) -> dict[str, float]:
    async with our_field.watched(), bare_field.watched():
        installation = Installation(our_field.namespace, folder)
        # For the ServiceAccount of the Jobs' pods.
        Installation(bare_field.namespace, folder)
        with ExitStack() as stack:
            our = Contender(our_field, stack.enter_context(installation.operator()))
            made = await _created(our, 1, 1)
            [job] = await our_field.jobs()
            handler = stack.enter_context(bare_operator(bare_field.namespace, job, folder))
            bare = Contender(bare_field, handler)
            contenders, exports = [our, bare], {our: made}
            with _forgiven(bare, contenders):
                exports[bare] = await _created(bare, 1, 1)
            await our_field.settled(made)
            benchmark.say("one by one")
            idle = await _one_by_one(form, contenders, exports)
            bursts = await _bursts(form, contenders, exports)
            carried_out = exports[our][-form.carried_out :]
            benchmark.say(f"{form.carried_out} carried out")
            with our.operator.blamed():
                await our_field.carried_out(carried_out, form.at_once)
            template = as_template(job)
            await _checked_jobs(our, exports[our])
            if bare in contenders:
                with _forgiven(bare, contenders):
                    _check_alike(await _checked_jobs(bare, exports[bare]), template)
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


@contextmanager
def _forgiven(contender: Contender, contenders: list[Contender]) -> Iterator[None]:
    """Tell of a baseline's failure, and go on without it; ours, the first, ends the benchmark."""
    try:
        yield
    except MeasurementError as error:
        if contender is contenders[0]:
            raise
        print(f"WITHOUT A BASELINE: {error}")
        contenders.remove(contender)


async def _created(contender: Contender, count: int, at_once: int) -> list[str]:
    created = await contender.field.create(count, at_once)
    with contender.operator.blamed():
        await contender.field.has(Step.JOB, created)
    return created


async def _checked_jobs(contender: Contender, exports: list[str]) -> list[dict[str, Any]]:
    """The contender's Jobs, one for each of `exports`; errors that it logged are told."""
    jobs = await contender.field.jobs()
    with contender.operator.blamed():
        check_equal("the exports that have Jobs", sorted(map(export_of, jobs)), sorted(exports))
    if errors := contender.operator.errors():
        print(f"ERRORS: the log of {contender.operator.name} has {len(errors)}: {errors[0]}")
    return jobs


def _check_alike(bare_jobs: list[dict[str, Any]], template: dict[str, Any]) -> None:
    """See that the bare handler's Jobs are what the operator's first was."""
    for job in bare_jobs:
        made = as_template(job)
        check_equal("a bare Job", json.loads(made["job"]), job_for(template, **made["export"]))


async def _one_by_one(
    form: Form, contenders: list[Contender], exports: dict[Contender, list[str]]
) -> list[float]:
    latencies: dict[str, list[float]] = {}
    for _ in range(form.one_by_one):
        for contender in list(contenders):
            # Nothing is waited for: both have to be idle.
            await asyncio.sleep(PAUSE_SECONDS)
            with _forgiven(contender, contenders):
                created = await _created(contender, 1, 1)
                exports[contender] += created
                for step in (Step.SENT, Step.STORED):
                    row = f"{contender.operator.name}: {step} -> Job"
                    seconds = contender.field.journal.between(step, Step.JOB, created)
                    latencies.setdefault(row, []).extend(seconds)
    print(f"\n{form.one_by_one} exports one by one")
    print(measures.latency_table(dict(sorted(latencies.items()))))
    return latencies[f"{contenders[0].operator.name}: {Step.SENT} -> Job"]


async def _bursts(
    form: Form, contenders: list[Contender], exports: dict[Contender, list[str]]
) -> Rounds:
    """What ours did."""
    our = contenders[0].operator.name
    rounds: dict[str, Rounds] = {}
    cpu: dict[str, list[float]] = {}
    for turn in range(form.rounds):
        benchmark.say(f"burst {turn + 1} of {form.rounds}")
        for contender in contenders[:: 1 if turn % 2 else -1]:
            name, journal = contender.operator.name, contender.field.journal
            before = contender.operator.cpu()
            with _forgiven(contender, contenders):
                created = await _created(contender, form.burst, form.in_flight)
                exports[contender] += created
                with contender.operator.blamed():
                    await contender.field.settled(created)
                spent = (contender.operator.cpu() - before) / form.burst * 1000
                cpu.setdefault(name, []).append(spent)
                rounds.setdefault(name, Rounds()).add(
                    journal.rate(Step.SENT, Step.JOB, created),
                    journal.between(Step.SENT, Step.JOB, created),
                )
    told = f"{form.burst} exports, {form.in_flight} at once, {form.rounds} rounds"
    print(f"\n{told}: median (min-max)")
    baseline = next((name for name in rounds if name != our), our)
    beside = dict.fromkeys(rounds, baseline)
    print(measures.table(rounds, beside, f"of {baseline}", "Jobs/s"))
    for name, each in cpu.items():
        print(f"{name}: {statistics.median(each):.1f} ms of processor time for each export")
    if measures.unsteady(rounds):
        print("UNSTEADY: the machine was busy")
    return rounds[our]


async def _starts(
    form: Form,
    field: ExportField,
    installation: Installation,
    proxy: CountingProxy,
    *,
    unfinished: int,
) -> list[Start]:
    # A first operator has something to say to each new target and export.
    async with field.watched():
        with installation.operator(proxy.port) as operator, operator.blamed():
            await field.targets_told()
            await field.settled(await field.created(unfinished, form.at_once))
    return [
        await start(
            field,
            installation,
            proxy,
            resync_seconds=form.resync_seconds,
            settling_seconds=form.settling_seconds,
        )
        for _ in range(form.starts)
    ]


def _is_for_want_of_a_node(request: Request) -> bool:
    """Whether it says that no node takes the pod, or no longer."""
    is_status = request.call == "PATCH backupexports/status"
    takes_back = is_status and json.loads(request.body)["status"].get("reason", "") is None
    return takes_back or request.names("Unschedulable")


async def _requests(
    form: Form, field: ExportField, installation: Installation, proxy: CountingProxy
) -> float:
    """The requests for each export, from its creation until it is finished."""
    others = [project for project in many_exports.PROJECTS if project not in FEW]
    await asyncio.to_thread(
        many_exports.make_targets, field.namespace, others, maxConcurrent=MOST_AT_A_TARGET
    )
    async with field.watched():
        with installation.operator(proxy.port) as operator, operator.blamed():
            await field.targets_told()
            await field.settled(await field.created(1, 1))
            proxy.requests.clear()
            exports = await field.created(form.counted, form.at_once)
            await field.settled(exports)
            await field.carried_out(exports, form.at_once)
            seen = [request for request in proxy.requests if _is_for_an_export(request)]
    rest, logs_read = [], set[str]()
    for request in seen:
        # No kubelet has the log of a pod without a node, so it is asked for again and again.
        is_log = request.call == "GET pods/log"
        if _is_for_want_of_a_node(request) or (is_log and request.target in logs_read):
            continue
        rest.append(request)
        if is_log:
            logs_read.add(request.target)
    print(f"\nrequests for each of {form.counted} exports that succeed, without watches")
    for call, count in sorted(calls(rest).items()):
        print(f"{call:<40}{count / form.counted:>6.2f}")
    print(f"{'together':<40}{len(rest) / form.counted:>6.2f}")
    print(
        f"and {(len(seen) - len(rest)) / form.counted:.2f} for want of a node: to say that none"
        " takes its pod, then no longer, and to look for the log again; that is the benchmark's own"
        " doing"
    )
    for call in ("POST jobs", "PATCH backupexports/status"):
        of_it = [request for request in rest if request.call == call]
        for export in exports:
            if not any(request.names(export) for request in of_it):
                raise MeasurementError(f"no {call} for {export} came through the proxy")
    return len(rest) / form.counted


def _is_for_an_export(request: Request) -> bool:
    return not request.is_watch and not request.is_for("leases")


async def _many(form: Form, field: ExportField, proxy: CountingProxy, folder: Path) -> list[Start]:
    await asyncio.to_thread(many_exports.fill, field.namespace, form.finished, finished=True)
    benchmark.say(f"starts with {form.finished} finished exports")
    installation = Installation(field.namespace, folder)
    starts = await _starts(form, field, installation, proxy, unfinished=form.unfinished)
    expected = form.finished + form.unfinished + form.starts
    check_equal("BackupExports in the end", many_exports.stored(field.namespace), expected)
    return starts


async def _retained(
    form: Form, field: ExportField, installation: Installation, api: ClusterApi
) -> Start:
    benchmark.say(f"a start with {form.retained} retained exports")
    where = address_of(api.server)
    with RetainingProxy(*where, api.context, field.namespace, form.retained) as proxy:
        started = await start(
            field,
            installation,
            proxy,
            resync_seconds=form.resync_seconds,
            settling_seconds=form.settling_seconds,
            await_all=proxy.await_watch,
        )
        proxy.check()
    return started


if __name__ == "__main__":
    sys.exit(main())
