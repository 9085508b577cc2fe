"""From latencies to the table and the bench line, and what makes them worthless; no I/O."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


class MeasurementError(RuntimeError):
    """What was measured is not what the benchmark says."""


@contextmanager
def blamed_on(whose: str) -> Iterator[None]:
    """Say whose an error is: with a contender and its baseline in turn, it could be either's."""
    try:
        yield
    except Exception as error:
        raise MeasurementError(f"{whose} failed: {error}") from error


def check_equal(what: str, found: object, expected: object) -> None:
    """MeasurementError unless `found` is what was expected."""
    if found != expected:
        raise MeasurementError(f"{what}: {found!r}, not {expected!r}")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` of them don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass
class Rounds:
    """What one contender did, round by round."""

    rates: list[float] = field(default_factory=list)
    p50s: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)

    def add(self, rate: float, latencies: Sequence[float]) -> None:
        """Take in a round; latencies in seconds."""
        if not latencies:
            raise MeasurementError("a round without a single answer")
        self.rates.append(rate)
        self.p50s.append(percentile(latencies, 50) * 1000)
        self.p99s.append(percentile(latencies, 99) * 1000)

    @property
    def rate(self) -> float:
        """Requests per second, the median of the rounds."""
        return statistics.median(self.rates)

    @property
    def p50(self) -> float:
        """Milliseconds, the median of the rounds."""
        return statistics.median(self.p50s)

    @property
    def p99(self) -> float:
        """Milliseconds, the median of the rounds."""
        return statistics.median(self.p99s)


def faster(rounds: Mapping[str, Rounds], *names: str) -> str:
    """The name of the one with the highest rate."""
    return max(names, key=lambda name: rounds[name].rate)


def table(
    rounds: Mapping[str, Rounds],
    baselines: Mapping[str, str],
    beside: str,
    what: str = "requests/s",
) -> str:
    """A line for each contender: medians (min-max); and its rate beside its baseline's."""
    lines = [f"{'':<26}{what:>20}{'p50 ms':>28}{'p99 ms':>28}{beside:>11}"]
    for name, one in rounds.items():
        baseline = rounds[baselines[name]]
        lines.append(
            f"{name:<26}{_spread(one.rates, 0):>20}{_spread(one.p50s, 2):>28}"
            f"{_spread(one.p99s, 2):>28}{one.rate / baseline.rate:>11.3f}"
        )
    return "\n".join(lines)


def latency_table(rows: Mapping[str, Sequence[float]]) -> str:
    """A line for each of `rows`, which are latencies in seconds."""
    lines = [f"{'':<40}{'n':>6}{'p50 ms':>11}{'p99 ms':>11}{'max ms':>11}"]
    for name, values in rows.items():
        figures = (percentile(values, percent) * 1000 for percent in (50, 99, 100))
        told = "".join(f"{figure:>11.1f}" for figure in figures)
        lines.append(f"{name:<40}{len(values):>6}{told}")
    return "\n".join(lines)


def unsteady(rounds: Mapping[str, Rounds]) -> list[str]:
    """Whose rate differs so much from round to round that something else was at work."""
    return [name for name, one in rounds.items() if max(one.rates) > 1.6 * min(one.rates)]


def bench_line(figures: Mapping[str, float]) -> str:
    """The last line, for programs; MeasurementError where a figure can't have been measured."""
    for name, value in figures.items():
        if not (math.isfinite(value) and value > 0):
            raise MeasurementError(f"{name} is {value}")
    return "bench: " + " ".join(f"{name}={value:.3f}" for name, value in figures.items())


def requests_to(metrics: str, resource: str, verbs: Sequence[str]) -> int:
    """How many requests for `resource` an API server's metrics count, all clients together."""
    return sum(
        int(float(line.rsplit(" ", 1)[1]))
        for line in metrics.splitlines()
        if line.startswith("apiserver_request_total{")
        and f'resource="{resource}"' in line
        and any(f'verb="{verb}"' in line for verb in verbs)
    )


def _spread(values: Sequence[float], digits: int) -> str:
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"
