"""What all benchmarks do around their measurements."""

import sys
from typing import Any

import benchmark
import pytest
from measures import MeasurementError


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Namespaces of the cluster, and their phases."""
    found: dict[str, str] = {"default": "Active"}

    def get(*_: str) -> Any:
        return {
            "items": [
                {"metadata": {"name": name}, "status": {"phase": phase}}
                for name, phase in found.items()
            ]
        }

    monkeypatch.setattr(benchmark, "get", get)
    return found


def _run(monkeypatch: pytest.MonkeyPatch, *options: str, figure: float = 1.5) -> None:
    monkeypatch.setattr("sys.argv", ["bench", *options])

    def measure(form: str) -> dict[str, float]:
        sys.stdout.write(f"the {form} form\n")
        return {"figure": figure}

    assert benchmark.run(measure, full="full", short="short") == 0


@pytest.mark.parametrize(("options", "form"), [((), "full"), (("--short",), "short")])
def test_the_command_line_chooses_the_form_and_the_figures_come_last(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    phases: dict[str, str],
    options: tuple[str, ...],
    form: str,
) -> None:
    _run(monkeypatch, *options)

    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == f"the {form} form"
    assert last == "bench: figure=1.500"


def test_a_figure_of_nothing_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phases: dict[str, str]
) -> None:
    with pytest.raises(MeasurementError, match="figure is 0"):
        _run(monkeypatch, figure=0.0)

    assert "bench:" not in capsys.readouterr().out


def test_the_full_form_waits_for_what_an_earlier_benchmark_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phases: dict[str, str]
) -> None:
    phases |= {"backupexport-bench-1-many": "Terminating", "backupexport-test-1": "Terminating"}
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            del phases["backupexport-bench-1-many"]

    monkeypatch.setattr("playground.tools.time.sleep", sleep)
    _run(monkeypatch)

    told = capsys.readouterr()
    assert len(waited) == 3
    assert "backupexport-bench-1-many" in told.err
    assert "UNSTEADY" not in told.out


def test_the_short_form_only_says_what_an_earlier_benchmark_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phases: dict[str, str]
) -> None:
    phases |= {"backupexport-bench-1-many": "Terminating", "backupexport-bench-2": "Active"}

    _run(monkeypatch, "--short")

    assert "UNSTEADY: Kubernetes is still removing backupexport-bench-1-many\n" in (
        capsys.readouterr().out
    )
