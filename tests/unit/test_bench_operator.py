"""What `make bench-operator` makes of what it sees, and the proxy that it counts with."""

import asyncio
import contextlib
import json
import ssl
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from subprocess import Popen
from threading import Thread
from typing import Any, cast

import aiohttp
import bench_operator
import counting_proxy
import export_field
import kubelet_stand_in
import measures
import operators
import pytest
import retained_exports
from aiohttp import web
from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.runner_protocol import read_outcome
from bare_operator import job_for
from cluster_api import ClusterApi
from counting_proxy import CountingProxy, Request
from journal import Journal, NotSeenError, Step
from measures import MeasurementError
from operators import Contender, Operator
from rendered_chart import render
from retained_exports import RetainingProxy
from virtual_time import run

CUSTOM = f"/apis/{names.API_VERSION}/namespaces/n"
NAME = "5d2a3c1e-6a53-4f0e-9a35-1d8b4c1f2a6b"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        ("POST", "/apis/batch/v1/namespaces/n/jobs?fieldValidation=Strict", "POST jobs"),
        ("PATCH", f"{CUSTOM}/backupexports/x/status", "PATCH backupexports/status"),
        ("GET", "/api/v1/namespaces/n/pods/x/log?follow=true", "GET pods/log"),
        ("GET", "/api/v1/namespaces/n/pods/x", "GET pods"),
        ("GET", f"/apis/{names.API_VERSION}", f"GET /apis/{names.API_VERSION}"),
    ],
)
def test_requests_are_counted_by_method_and_resource(method: str, target: str, call: str) -> None:
    assert Request(method, target).call == call


def test_watches_are_not_counted() -> None:
    path = "/apis/batch/v1/namespaces/n/jobs"
    seen = [
        Request("GET", f"{path}?watch=true&resourceVersion=1"),
        Request("GET", f"{path}?watch=1"),
        Request("GET", f"{path}?watch=false"),
        Request("GET", f"{path}?labelSelector=watch%3Dtrue"),
    ]

    assert counting_proxy.calls(seen) == Counter({"GET jobs": 2})


def test_writes_at_the_start_are_those_for_old_exports() -> None:
    old = Request("PATCH", f"{CUSTOM}/backupexports/old/status", b"{}")
    seen = [
        Request("GET", f"{CUSTOM}/backupexports"),
        Request("POST", "/apis/batch/v1/namespaces/n/jobs", b'{"metadata": {"name": "e-new-1"}}'),
        Request("PATCH", f"{CUSTOM}/backupexports/new-1/status", b"{}"),
        Request("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/x", b"{}"),
        old,
    ]

    assert operators.old_writes(seen, "new-1") == [old]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /x HTTP/1.1\r\nHost: y\r\n\r\n", ("GET", "/x", 0)),
        (b"POST /x?y=1 HTTP/1.1\r\ncontent-LENGTH:  12\r\n\r\n", ("POST", "/x?y=1", 12)),
    ],
)
def test_a_head_tells_the_length_of_its_body(head: bytes, expected: tuple[str, str, int]) -> None:
    assert counting_proxy.read_head(head) == expected


def test_a_body_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="POST /x"):
        counting_proxy.read_head(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_the_proxy_passes_requests_on_and_remembers_them() -> None:
    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with CountingProxy("127.0.0.1", server.server_port, None) as proxy:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{proxy.port}/a?b=c", data=b"x" * 100_000
                )
                with urllib.request.urlopen(request, timeout=60) as response:
                    answer = response.read()
        finally:
            server.shutdown()
            thread.join()

    assert answer == b"x" * 100_000
    assert proxy.requests == [Request("POST", "/a?b=c", answer)]


def test_only_the_first_sight_of_a_step_counts() -> None:
    journal = Journal()
    for name, sent, job in (("a", 1.0, 3.0), ("b", 2.0, 2.5)):
        journal.note(Step.SENT, name, sent)
        journal.note(Step.JOB, name, job)
    journal.note(Step.JOB, "a", 99.0)

    assert journal.between(Step.SENT, Step.JOB, ["a", "b"]) == [2.0, 0.5]
    assert journal.rate(Step.SENT, Step.JOB, ["a", "b"]) == 1.0


async def test_the_journal_waits_until_all_were_seen() -> None:
    journal = Journal()
    waiting = asyncio.create_task(journal.all_at(Step.JOB, ["a", "b"], 60))
    journal.note(Step.JOB, "a")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    assert not waiting.done()

    journal.note(Step.JOB, "b")

    await asyncio.wait_for(waiting, 60)


async def test_what_is_never_seen_is_told() -> None:
    journal = Journal()
    journal.note(Step.JOB, "a")

    told = r"1 of 2 exports were not job, and none became so within 0\.01 s"
    with pytest.raises(NotSeenError, match=told):
        await journal.all_at(Step.JOB, ["a", "b"], 0.01)


def test_a_slow_one_is_waited_for_while_it_gets_on() -> None:
    async def story() -> None:
        journal = Journal()
        slow = [str(number) for number in range(8)]
        waiting = asyncio.create_task(journal.all_at(Step.JOB, slow, 60))
        for name in slow:
            await asyncio.sleep(59)
            journal.note(Step.JOB, name)
        await waiting

    run(story())


@contextlib.asynccontextmanager
async def _watched(*answers: str) -> AsyncIterator[tuple[ClusterApi, list[str]]]:
    """An API server that answers each watch with one line and its end, and the versions asked for.

    The watch after the last answer goes on without a line.
    """
    asked: list[str] = []
    over = asyncio.Event()

    async def watch(request: web.Request) -> web.Response:
        asked.append(request.query["resourceVersion"])
        if len(asked) > len(answers):
            await over.wait()
            return web.Response()
        return web.Response(text=answers[len(asked) - 1] + "\n")

    app = web.Application()
    app.router.add_get("/jobs", watch)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield ClusterApi(session, url, ssl.create_default_context()), asked
    finally:
        over.set()
        await runner.cleanup()


def _event(version: str) -> str:
    return json.dumps({"type": "ADDED", "object": {"metadata": {"resourceVersion": version}}})


async def test_a_watch_that_the_api_server_ends_goes_on_where_it_was() -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async with (
        _watched(_event("10"), _event("20")) as (api, asked),
        api.watching("/jobs", lambda _, job: seen.put_nowait(job["metadata"]["resourceVersion"])),
    ):
        async with asyncio.timeout(60):
            assert [await seen.get(), await seen.get()] == ["10", "20"]

    assert asked[:2] == ["0", "10"]


async def test_a_watch_that_cannot_go_on_is_an_error() -> None:
    gone = json.dumps({"type": "ERROR", "object": {"code": 410}})

    async with _watched(gone) as (api, _):
        with pytest.raises(RuntimeError, match="own watch of /jobs"):
            await api._watch("/jobs", lambda *_: None, asyncio.Event())


async def test_a_watch_that_is_refused_is_an_error() -> None:
    async with _watched() as (api, _):
        with pytest.raises(aiohttp.ClientResponseError, match="404"):
            async with api.watching("/elsewhere", lambda *_: None):
                pass


def test_it_is_quiet_only_when_nothing_stirs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        clock = asyncio.get_running_loop().time
        monkeypatch.setattr("journal.now", clock)
        journal = Journal()
        quiet = asyncio.create_task(journal.quiet(2))
        for _ in range(10):
            await asyncio.sleep(1.5)
            journal.stir()
        assert not quiet.done()

        await quiet
        assert clock() == 10 * 1.5 + 2

    run(story())


def _job() -> dict[str, Any]:
    labels = {names.LABEL_JOB_ID: NAME}
    added = {"batch.kubernetes.io/controller-uid": "j", "job-name": "x", "controller-uid": "j"}
    return {
        "metadata": {
            "name": names.job_name(NAME),
            "namespace": "n",
            "uid": "j",
            "resourceVersion": "1",
            "labels": labels | added,
            "ownerReferences": [{"uid": "e", "controller": True}],
        },
        "spec": {
            "backoffLimit": 4,
            "selector": {"matchLabels": {"controller-uid": "j"}},
            "template": {"metadata": {"labels": labels | added}, "spec": {"containers": []}},
        },
        "status": {"active": 1},
    }


def test_the_bare_operator_makes_the_job_as_it_was_sent() -> None:
    template = operators.as_template(_job())
    made = json.loads(template["job"])

    assert template["export"] == {"name": NAME, "uid": "e"}
    labels = {names.LABEL_JOB_ID: NAME}
    assert made["metadata"]["labels"] == labels
    assert made["spec"] == {
        "backoffLimit": 4,
        "template": {"metadata": {"labels": labels}, "spec": {"containers": []}},
    }
    assert "status" not in made
    assert "uid" not in made["metadata"]


def test_the_bare_operator_makes_the_job_of_each_export() -> None:
    template = operators.as_template(_job())
    template["job"] = template["job"].replace('"e"', '"uid-of-the-first"')
    template["export"]["uid"] = "uid-of-the-first"

    made = job_for(template, "another", "uid-of-another")

    assert made["metadata"]["name"] == names.job_name("another")
    assert made["metadata"]["labels"] == {names.LABEL_JOB_ID: "another"}
    assert made["metadata"]["ownerReferences"] == [{"uid": "uid-of-another", "controller": True}]
    assert NAME not in json.dumps(made)


class _Process:
    pid = 1

    def __init__(self, exit_status: int | None) -> None:
        self._exit_status = exit_status

    def poll(self) -> int | None:
        return self._exit_status


def _operator(tmp_path: Path, log: str, exit_status: int | None = None) -> Operator:
    file = tmp_path / "log"
    file.write_text(log)
    return Operator("bare", cast("Popen[str]", _Process(exit_status)), file, 0.0)


def test_an_error_is_blamed_on_whose_it_was_with_the_end_of_its_log(tmp_path: Path) -> None:
    operator = _operator(tmp_path, "Traceback: no such namespace")

    blame = pytest.raises(MeasurementError, match=r"(?s)^bare failed: 3 of 5 .*no such namespace$")
    with blame, operator.blamed():
        raise NotSeenError("3 of 5 exports were not job")


def test_an_operator_that_has_ended_is_blamed_even_where_nobody_missed_it(tmp_path: Path) -> None:
    operator = _operator(tmp_path, "", exit_status=2)

    blame = pytest.raises(MeasurementError, match="bare failed: its exit status: 2, not None")
    with blame, operator.blamed():
        pass


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        ('{"time": "x", "level": "error", "message": "y"}', True),
        ('{"time": "x", "level": "warning", "message": "an [error] ahead"}', False),
        ("[2026-01-01 00:00:00,000] kopf.objects         [ERROR   ] failed", True),
        ("[2026-01-01 00:00:00,000] kopf.objects         [INFO    ] succeeded", False),
        ("Traceback (most recent call last):", True),
    ],
)
def test_errors_that_were_repeated_are_found_in_the_log(
    tmp_path: Path, line: str, is_error: bool
) -> None:
    assert _operator(tmp_path, f"fine\n{line}\n").errors() == [line] * is_error


@pytest.mark.parametrize(
    ("conditions", "complete"),
    [
        ([], False),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], False),
        ([{"type": "Complete", "status": "False"}], False),
        ([{"type": "Complete", "status": "True"}], True),
    ],
)
def test_a_job_is_complete_by_its_condition(conditions: list[Any], complete: bool) -> None:
    assert export_field.is_complete({"status": {"conditions": conditions}}) is complete


def test_the_stand_in_for_the_kubelet_reports_as_a_runner_does() -> None:
    status = kubelet_stand_in.succeeded(NAME, "proj-1", MOMENT, MOMENT)

    (container,) = status["containerStatuses"]
    artifact = read_outcome(container["state"]["terminated"]["message"]).artifact
    assert container["name"] == names.RUNNER_CONTAINER
    assert artifact is not None
    assert artifact.path.startswith("proj-1/")
    assert NAME in artifact.path


def test_the_operator_gets_the_charts_settings_and_permissions() -> None:
    manifests = render({"runner": {"nodeSelector": operators.NO_NODE}})

    settings = operators.settings_of(manifests, "here", "pod-1")
    needed = operators.needed_by(manifests)

    assert settings["BACKUPEXPORT_NAMESPACE"] == "here"
    pods = json.loads(settings["BACKUPEXPORT_RUNNER_PODS"])
    assert pods["all"]["spec"]["nodeSelector"] == operators.NO_NODE
    assert {manifest["kind"] for manifest in needed} == {
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "PersistentVolumeClaim",
    }


def test_latencies_are_told_in_milliseconds() -> None:
    header, row = measures.latency_table({"a -> b": [0.001, 0.002, 0.5]}).splitlines()

    assert header.split() == ["n", "p50", "ms", "p99", "ms", "max", "ms"]
    assert row.split() == ["a", "->", "b", "3", "2.0", "500.0", "500.0"]


class _Field:
    """Makes exports, whose Jobs its operator makes at once, or never."""

    def __init__(self, broken_after: int) -> None:
        self.journal = Journal()
        self._left = broken_after
        self._made = 0

    async def create(self, count: int, _: int) -> list[str]:
        created = [f"e{self._made + number}" for number in range(count)]
        self._made += count
        for name in created:
            self.journal.note(Step.SENT, name)
            self.journal.note(Step.STORED, name)
        return created

    async def has(self, step: Step, exports: list[str]) -> None:
        self._left -= 1
        if self._left < 0:
            raise NotSeenError(f"{len(exports)} exports were not {step}")
        for name in exports:
            self.journal.note(step, name)

    async def settled(self, _: list[str]) -> None:
        pass


def _contenders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *broken_after: int
) -> list[Contender]:
    monkeypatch.setattr(bench_operator, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(operators, "cpu_seconds", lambda _: 1.0)
    log = tmp_path / "log"
    log.write_text("")
    return [
        Contender(
            cast("export_field.ExportField", _Field(broken)),
            Operator(name, cast("Popen[str]", _Process(None)), log, 0.0),
        )
        for name, broken in zip(("operator", "bare"), broken_after, strict=True)
    ]


@pytest.mark.parametrize("broken_after", [0, 1, 2, 3])
async def test_a_baseline_that_fails_is_told_and_does_not_end_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken_after: int,
) -> None:
    contenders = _contenders(tmp_path, monkeypatch, 99, broken_after)
    ours = contenders[0]
    exports: dict[Contender, list[str]] = {contender: [] for contender in contenders}
    form = replace(bench_operator.SHORT, one_by_one=3, burst=2, rounds=2)
    assert len(await bench_operator._one_by_one(form, contenders, exports)) == 3
    bursts = await bench_operator._bursts(form, contenders, exports)
    assert (len(bursts.rates), contenders) == (2, [ours])
    assert capsys.readouterr().out.count("WITHOUT A BASELINE: bare failed") == 1
    assert len(exports[ours]) == 3 + 2 * 2


async def test_our_own_failure_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contenders = _contenders(tmp_path, monkeypatch, 1, 99)
    exports: dict[Contender, list[str]] = {contender: [] for contender in contenders}
    with pytest.raises(MeasurementError, match="operator failed"):
        await bench_operator._one_by_one(bench_operator.SHORT, contenders, exports)


class _Proxied:
    """A client of a RetainingProxy in front of a server that has one export of its own."""

    def __init__(self, session: aiohttp.ClientSession, proxy: RetainingProxy) -> None:
        self.session, self.proxy = session, proxy

    async def get(self, **query: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.proxy.port}{CUSTOM}/backupexports"
        async with self.session.get(url, params=query) as answer:
            found: dict[str, Any] = await answer.json()
        return found


@pytest.fixture
async def retaining() -> AsyncIterator[_Proxied]:
    async def real(_: web.Request) -> web.Response:
        return web.json_response({"items": ["the real one"]})

    app = web.Application()
    app.router.add_get("/{path:.*}", real)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    with RetainingProxy(host, port, None, "n", 1200) as proxy:
        async with aiohttp.ClientSession() as session:
            yield _Proxied(session, proxy)
    await runner.cleanup()


THEIRS = {"fieldSelector": "status.disposalPending=true"}


async def test_the_retained_exports_are_listed_in_pages_and_the_rest_goes_through(
    retaining: _Proxied,
) -> None:
    assert await retaining.get() == {"items": ["the real one"]}
    pages: list[dict[str, Any]] = []
    following = ""
    while not pages or following:
        page = await retaining.get(
            **THEIRS, limit="500", **({"continue": following} if following else {})
        )
        pages.append(page)
        following = page["metadata"].get("continue", "")
    items = [BackupExport.model_validate(item) for page in pages for item in page["items"]]
    assert [len(page["items"]) for page in pages] == [500, 500, 200]
    assert len({item.metadata.uid for item in items}) == len(items)
    assert len({item.spec.project_id for item in items}) == 50
    assert all(item.status.disposal_pending and item.phase.is_finished for item in items)
    ends = [timestamps.from_text(item.status.expiration_time or "") for item in items]
    assert min(ends) > timestamps.now()
    assert retaining.proxy.lists == 1
    retaining.proxy.check()
    await retaining.get(**THEIRS, limit="500")
    with pytest.raises(MeasurementError, match="lists of the retained"):
        retaining.proxy.check()


async def test_the_question_whether_the_selector_is_known_is_no_list(retaining: _Proxied) -> None:
    assert len((await retaining.get(**THEIRS, limit="1"))["items"]) == 1
    assert retaining.proxy.lists == 0


async def test_the_watch_of_the_retained_exports_tells_nothing_and_does_not_end(
    retaining: _Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_exports, "_PATIENCE_SECONDS", 0.01)
    with pytest.raises(MeasurementError, match="in time"):
        retaining.proxy.await_watch()
    url = f"http://127.0.0.1:{retaining.proxy.port}{CUSTOM}/backupexports"
    async with retaining.session.get(url, params={**THEIRS, "watch": "True"}) as answer:
        retaining.proxy.await_watch()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await answer.content.readline()
