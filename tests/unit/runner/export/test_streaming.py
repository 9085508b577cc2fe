"""How far a dump is."""

from backupexport_runner.export.streaming import ProgressMeter


def test_progress() -> None:
    meter = ProgressMeter(1000, now=0)
    assert meter.update(100, 0.9) is None
    told = [meter.update(count, now) for count, now in [(100, 1), (200, 1.5), (500, 2), (2000, 3)]]
    assert [progress and progress.percent for progress in told] == [10, None, 50, 99]
    assert meter.complete(2000).percent == 100


def test_progress_without_an_estimate() -> None:
    progress = ProgressMeter(0, now=0).update(100, 1)
    assert progress is not None
    assert (progress.percent, progress.dumped_bytes, progress.estimated_bytes) == (0, 100, 0)
