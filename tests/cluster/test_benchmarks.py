"""Each benchmark's short form, from its make target to its last line.

How large a figure is says nothing here: the numbers are small, and other tests run beside it.
"""

import math
import subprocess

import pytest
from playground.tools import ROOT

FIGURES = {
    "bench-dump": [
        "zstd_vs_raw", "zstd_vs_gzip", "age_vs_plain", "s3_vs_volume", "start_s", "finish_s",
    ],
    "bench-api": [
        "get_vs_bare", "get_p99_vs_bare", "post_vs_direct_p50", "list_vs_bare", "rss_mib",
    ],
    "bench-operator": [
        "idle_p50_ms", "burst_p99_s", "burst_rate", "requests_per_export", "start_10k_s",
        "rss_mib", "rss_10k_vs_empty", "rss_100k_retained_mib",
    ],
    "bench-download": ["download_vs_nginx", "rss_20_slow_vs_idle"],
    "bench-cli": [
        "jobs_200_seconds", "help_seconds", "download_vs_curl_synced", "download_vs_curl",
    ],
}  # fmt: skip


@pytest.mark.parametrize("target", FIGURES)
def test_a_benchmark_ends_with_its_figures(target: str) -> None:
    done = subprocess.run(
        # What the targets need is there, or this test would not run.
        ["make", "--no-print-directory", "-o", "images", "-o", "cluster-up", target, "SHORT=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    start, *told = done.stdout.splitlines()[-1].split()
    figures = {name: float(value) for name, _, value in (item.partition("=") for item in told)}
    assert start == "bench:"
    assert list(figures) == FIGURES[target]
    assert all(math.isfinite(value) and value > 0 for value in figures.values()), figures
