"""`make bench-api`: what the API costs beside a bare FastAPI route and a bare create call.

The API runs as a process of the machine, against the cluster's API server, with ten thousand
BackupExports.  Contenders are loaded in turn, one at a time while the others idle, on the same
processor; the load generator has another one.  Medians of the rounds are printed.  The bare
app's answers are the API's to the byte, each answer has the status that it should have, and in
the end the API and the API server have as many exports as were asked for.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bare_app
import benchmark
import load_client
import many_exports
import measures
from backupexport_contract import names
from measures import MeasurementError, Rounds, blamed_on, check_equal
from playground.release import ensure_crds
from playground.tools import kubectl
from processors import memory, pinned, processors
from servers import LIST, Servers

CONNECTIONS = 8
# The limits are the API's own, 600 reads and 10 exports a minute for each sub.  With a higher
# limit and one caller, the limiter would keep a list such as it never has in life; so there are
# enough callers for each to stay within the limit.
SUBJECTS = 500

JOB_API, LIST_API, FILTERED_API = "job: API", "list of 50: API", "list, one project: API"
JOB_BARE = {variant: f"job: bare, {variant}" for variant in bare_app.VARIANTS}
LIST_BARE = {variant: f"list of 50: bare, {variant}" for variant in bare_app.VARIANTS}

Contender = Callable[[float], load_client.Load]


@dataclass(frozen=True)
class Form:
    """How much is measured; `posts` are those of a round, for each number of connections."""

    exports: int
    rounds: int
    seconds: float
    warm_up_seconds: float
    posts: Mapping[int, int]


FULL = Form(
    exports=10_000, rounds=5, seconds=2.0, warm_up_seconds=1.0, posts={1: 100, CONNECTIONS: 200}
)
SHORT = Form(
    exports=100, rounds=1, seconds=0.3, warm_up_seconds=0.1, posts={1: 10, CONNECTIONS: 20}
)


def main() -> int:
    """Print the tables and the bench line."""
    return benchmark.run(_measure, full=FULL, short=SHORT)


def _measure(form: Form) -> Mapping[str, float]:
    ensure_crds()
    measured, generator = processors()
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        watched = stack.enter_context(benchmark.own_namespace())
        # For creations that nobody watches: the API would parse their events, on the processor
        # that it shares with the direct client, and slow that down.
        unwatched = stack.enter_context(benchmark.own_namespace("direct"))
        # Never made: the bare app's program has nothing to watch there.
        empty = f"{watched}-empty"
        began = time.monotonic()
        many_exports.make_targets(watched)
        job_ids = many_exports.fill(watched, form.exports)
        benchmark.say(f"{form.exports} BackupExports made in {time.monotonic() - began:.0f} s")
        check_equal("BackupExports", many_exports.stored(watched), form.exports)
        stack.enter_context(pinned(generator))
        servers = Servers(stack, logs, measured, (watched, unwatched, empty))
        check_equal("jobs of the API", servers.jobs(), form.exports)
        figures = _measure_reads(form, servers, job_ids)
        # After the reads: new jobs have less JSON and would make the list's page smaller.
        figures["post_vs_direct_p50"] = _measure_posts(form, servers)
        created = sum(form.posts.values()) * (form.rounds + 1)
        check_equal("jobs of the API after the POSTs", servers.jobs(), form.exports + created)
        check_equal(
            "BackupExports after the POSTs", many_exports.stored(watched), form.exports + created
        )
        check_equal("BackupExports of the direct client", many_exports.stored(unwatched), created)
        now, most = memory(servers.api.pid)
        print(f"memory of the API in the end: {now:.1f} MiB (at most {most:.1f} MiB)")
    order = ("get_vs_bare", "get_p99_vs_bare", "post_vs_direct_p50", "list_vs_bare", "rss_mib")
    return {name: figures[name] for name in order}


def _measure_reads(form: Form, servers: Servers, job_ids: list[str]) -> dict[str, float]:
    contenders = _readers(servers, job_ids)
    rounds = {name: Rounds() for name in contenders}
    calls = gets = 0
    for turn, name in _turns(form, contenders):
        before = _kubernetes_reads()
        with blamed_on(name):
            load = contenders[name](form.seconds if turn else form.warm_up_seconds)
        if name == JOB_API:
            calls += _kubernetes_reads() - before
            gets += len(load.latencies)
        if turn:
            rounds[name].add(load.rate, load.latencies)
    now, most = memory(servers.api.pid)
    with blamed_on("the raw server"):
        ceiling = _load(servers.raw_port, servers.callers(1).gets(["/"]), form.seconds).rate
    job_bare = measures.faster(rounds, *JOB_BARE.values())
    list_bare = measures.faster(rounds, *LIST_BARE.values())
    baselines = {name: job_bare if name.startswith("job") else list_bare for name in rounds}
    print(
        f"\n{CONNECTIONS} connections, {form.rounds} rounds of {form.seconds:g} s: median (min-max)"
    )
    print(measures.table(rounds, baselines, "of bare"))
    _warn_of_unsteady(rounds)
    print(f"the load generator's own ceiling: {ceiling:.0f} requests/s")
    print(
        f"reads of BackupExports from the Kubernetes API during {gets} GETs of a job, "
        f"whoever made them: {calls}"
    )
    _check_that_reads_are_counted()
    print(f"memory of the API with {form.exports} jobs: {now:.1f} MiB (at most {most:.1f} MiB)")
    return {
        "get_vs_bare": rounds[JOB_API].rate / rounds[job_bare].rate,
        "get_p99_vs_bare": rounds[JOB_API].p99 / rounds[job_bare].p99,
        "list_vs_bare": rounds[LIST_API].rate / rounds[list_bare].rate,
        "rss_mib": now,
    }


def _readers(servers: Servers, job_ids: list[str]) -> dict[str, Contender]:
    callers = servers.callers(SUBJECTS)
    jobs = [f"/api/jobs/{job_id}" for job_id in job_ids]
    filtered = [f"{LIST}&project_id={project}" for project in many_exports.PROJECTS]
    plans = [(JOB_API, servers.api_port, jobs)]
    plans += [
        (name, servers.bare_port, [f"/{variant}{path}" for path in jobs])
        for variant, name in JOB_BARE.items()
    ]
    plans += [(LIST_API, servers.api_port, [LIST]), (FILTERED_API, servers.api_port, filtered)]
    plans += [
        (name, servers.bare_port, [f"/{variant}{LIST}"]) for variant, name in LIST_BARE.items()
    ]
    return {name: partial(_load, port, callers.gets(paths)) for name, port, paths in plans}


def _measure_posts(form: Form, servers: Servers) -> float:
    posts = servers.callers(SUBJECTS).posts(many_exports.PROJECTS)
    contenders: dict[str, Callable[[], tuple[float, list[float]]]] = {}
    baselines: dict[str, str] = {}
    pairs: dict[int, tuple[str, str]] = {}
    for connections, count in form.posts.items():
        post, direct = f"POST: API, {connections} at once", f"create: direct, {connections} at once"
        contenders[post] = partial(_post, servers, posts, connections, count)
        contenders[direct] = partial(_create, servers, connections, count)
        baselines |= {post: direct, direct: direct}
        pairs[connections] = post, direct
    rounds = {name: Rounds() for name in contenders}
    for turn, name in _turns(form, contenders):
        with blamed_on(name):
            rate, latencies = contenders[name]()
        if turn:
            rounds[name].add(rate, latencies)
    ratios = {
        connections: rounds[post].p50 / rounds[direct].p50
        for connections, (post, direct) in pairs.items()
    }
    print()
    print(measures.table(rounds, baselines, "of direct"))
    _warn_of_unsteady(rounds)
    for connections, ratio in ratios.items():
        print(f"POST's p50, {connections} at once: {ratio:.3f} of the direct call's")
    # One at a time: at more, either side mostly waits for Python's lock in its own process.
    return ratios[1]


def _load(port: int, requests: list[bytes], seconds: float) -> load_client.Load:
    return load_client.generate(
        port, itertools.cycle(requests), connections=CONNECTIONS, status=200, seconds=seconds
    )


def _post(
    servers: Servers, posts: Iterator[bytes], connections: int, count: int
) -> tuple[float, list[float]]:
    some = itertools.islice(posts, count)
    load = load_client.generate(servers.api_port, some, connections=connections, status=202)
    check_equal("answers to POSTs", len(load.latencies), count)
    return load.rate, load.latencies


def _create(servers: Servers, connections: int, count: int) -> tuple[float, list[float]]:
    seconds, latencies = servers.create(connections, many_exports.new_manifests(count))
    check_equal("answers to the direct client", len(latencies), count)
    return len(latencies) / seconds, latencies


def _turns(form: Form, contenders: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Round 0 only warms up; every second round goes backwards, so that none is always first."""
    order = list(contenders)
    for turn in range(form.rounds + 1):
        benchmark.say(f"round {turn}")
        yield from ((turn, name) for name in (reversed(order) if turn % 2 else order))


def _kubernetes_reads() -> int:
    told = kubectl("get", "--raw", "/metrics")
    return measures.requests_to(told, names.EXPORT_PLURAL, ("GET", "LIST"))


def _check_that_reads_are_counted() -> None:
    """See that none read is not none counted."""
    before = _kubernetes_reads()
    kubectl("get", "--raw", f"/apis/{names.API_VERSION}/{names.EXPORT_PLURAL}?limit=1")
    if _kubernetes_reads() == before:
        raise MeasurementError("the API server's metrics don't count reads of BackupExports")


def _warn_of_unsteady(rounds: dict[str, Rounds]) -> None:
    if names_of_them := measures.unsteady(rounds):
        print(f"UNSTEADY, don't trust the ratios: the machine was busy ({len(names_of_them)} rows)")


if __name__ == "__main__":
    sys.exit(main())
