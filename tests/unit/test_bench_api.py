"""The figures that `make bench-api` makes of what it has measured."""

import asyncio
import itertools
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import load_client
import many_exports
import measures
import pytest
from backupexport_contract.backup_export import BackupExport
from measures import MeasurementError, Rounds


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 50, 2.0),
        ([float(number) for number in range(1, 101)], 99, 99.0),
        ([float(number) for number in range(1, 201)], 99, 198.0),
        ([2.0, 1.0], 100, 2.0),
    ],
)
def test_percentile(values: list[float], percent: float, expected: float) -> None:
    assert measures.percentile(values, percent) == expected


def _rounds(*rates: float, latency: float) -> Rounds:
    rounds = Rounds()
    for rate in rates:
        rounds.add(rate, [latency] * 10)
    return rounds


def test_a_contender_is_known_by_the_medians_of_its_rounds() -> None:
    rounds = Rounds()
    for rate, slowest in ((10.0, 0.5), (1000.0, 0.009), (30.0, 0.008)):
        rounds.add(rate, [0.002] * 98 + [slowest] * 2)

    assert (rounds.rate, rounds.p50, rounds.p99) == (30.0, 2.0, 9.0)


def test_the_faster_one_is_the_one_with_more_requests_a_second() -> None:
    rounds = {"a": _rounds(1, 2, 900, latency=1), "b": _rounds(3, latency=1)}

    assert measures.faster(rounds, "a", "b") == "b"


def test_the_table_shows_medians_spreads_and_what_each_is_of_its_baseline() -> None:
    rounds = {
        "api": _rounds(40, 50, 90, latency=0.002),
        "bare": _rounds(100, latency=0.001),
    }

    header, api, bare = measures.table(
        rounds, {"api": "bare", "bare": "bare"}, "of bare"
    ).splitlines()

    assert header.split() == ["requests/s", "p50", "ms", "p99", "ms", "of", "bare"]
    assert api.split() == ["api", "50", "(40-90)", "2.00", "(2.00-2.00)", "2.00", "(2.00-2.00)", "0.500"]  # fmt: skip  # noqa: E501
    assert bare.split()[-1] == "1.000"


def test_rates_that_jump_are_not_to_be_trusted() -> None:
    rounds = {
        "steady": _rounds(5439, 6996, 7236, latency=1),
        "busy": _rounds(354, 1249, 1469, latency=1),
    }

    assert measures.unsteady(rounds) == ["busy"]


def test_the_last_line_is_for_programs() -> None:
    line = measures.bench_line({"get_vs_bare": 2 / 3, "rss_mib": 101.0})

    assert line == "bench: get_vs_bare=0.667 rss_mib=101.000"


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_figure_that_cannot_have_been_measured_ends_the_run(value: float) -> None:
    with pytest.raises(MeasurementError, match="get_vs_bare is"):
        measures.bench_line({"rss_mib": 1.0, "get_vs_bare": value})


def test_a_round_without_an_answer_ends_the_run() -> None:
    with pytest.raises(MeasurementError, match="without a single answer"):
        Rounds().add(1.0, [])


def test_an_error_is_blamed_on_whose_it_was() -> None:
    with pytest.raises(MeasurementError, match="nginx failed: gone"), measures.blamed_on("nginx"):
        raise OSError("gone")


def test_what_is_not_equal_ends_the_run() -> None:
    measures.check_equal("jobs", 2, 2)
    with pytest.raises(MeasurementError, match="jobs: 2, not 3"):
        measures.check_equal("jobs", 2, 3)


def test_requests_are_counted_by_resource_and_verb() -> None:
    metrics = """\
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="backupexports",verb="GET"} 5
apiserver_request_total{code="404",resource="backupexports",verb="GET"} 2
apiserver_request_total{code="200",resource="backupexports",verb="LIST"} 1e+06
apiserver_request_total{code="200",resource="backupexports",verb="WATCH"} 50
apiserver_request_total{code="200",resource="exporttargets",verb="GET"} 70
apiserver_request_terminations_total{resource="backupexports",verb="GET"} 9
"""

    assert measures.requests_to(metrics, "backupexports", ("GET", "LIST")) == 1_000_007


@pytest.mark.parametrize("chance", [0.0, 0.03, 0.07, 0.5])
def test_made_up_exports_are_what_the_models_expect(chance: float) -> None:
    job = ("5d2a3c1e-6a53-4f0e-9a35-1d8b4c1f2a6b", "proj-01", datetime(2026, 1, 1, tzinfo=UTC))
    made = many_exports.manifest(*job) | {"status": many_exports.status(*job, chance)}
    made["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}

    export = BackupExport.model_validate(made)

    assert export.phase.is_finished == (chance >= 0.04)
    assert (export.status.artifact is not None) == (export.phase == "Succeeded")


class _Server(threading.Thread):
    """Answers each request on each connection with `pieces`, one write each."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(daemon=True)
        self._pieces = pieces
        self._ready = threading.Event()
        self.seen: list[bytes] = []
        self.connections = 0

    def __enter__(self) -> int:
        self.start()
        assert self._ready.wait(60)
        return self.port

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(60)
        assert not self.is_alive()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._over.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.seen.append(head)
                for piece in self._pieces:
                    writer.write(piece)
                    await writer.drain()
                    # A pass of the loop each, so that pieces arrive apart.
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def _generate(port: int, requests: Iterator[bytes], **options: Any) -> load_client.Load:
    return load_client.generate(port, requests, connections=3, status=200, **options)


def test_the_generator_sends_every_request_and_times_every_answer() -> None:
    requests = [
        load_client.request("GET", f"/{number}", {"Authorization": "Bearer x"})
        for number in range(30)
    ]
    server = _Server(b"HTTP/1.1 200 OK\r\nContent-", b"Length: 4\r\n\r\n", b"ab", b"cd")
    with server as port:
        load = _generate(port, iter(requests))

    assert sorted(server.seen) == sorted(requests)
    assert server.connections == 3
    assert len(load.latencies) == 30
    assert load.rate == pytest.approx(30 / (load.ended - load.began))


def test_the_generator_stops_when_the_time_is_over() -> None:
    endless = itertools.repeat(load_client.request("GET", "/", {}))
    with _Server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as port:
        load = _generate(port, endless, seconds=1)

    assert load.latencies
    assert load.ended - load.began < 60


def test_an_answer_of_another_status_ends_the_measurement() -> None:
    refusal = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"
    with _Server(refusal) as port, pytest.raises(load_client.UnexpectedAnswerError, match="429"):
        _generate(port, itertools.repeat(load_client.request("GET", "/", {})))


def test_a_body_is_sent_with_its_length() -> None:
    sent = load_client.request("POST", "/x", {"Content-Type": "application/json"}, b'{"a":1}')

    assert re.fullmatch(
        rb"POST /x HTTP/1\.1\r\nHost: [^\r]+\r\nContent-Type: application/json\r\n"
        rb'Content-Length: 7\r\n\r\n\{"a":1\}',
        sent,
    )
