"""Prometheus' own checker of rules and metrics: finding it, installing it, running it."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from local_cluster import packages
from local_cluster.errors import ClusterError
from local_cluster.layout import cache_directory
from local_cluster.progress import quiet

_DEBIAN_PACKAGE = "prometheus"
_SERVICE = "prometheus.service"


def install() -> str | None:
    """Have promtool, from Debian's packages where there is none; why there is none after that."""
    if shutil.which("promtool"):
        return None
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "Debian's package prometheus, which has it, is installed by itself only for root"
    try:
        packages.install([_DEBIAN_PACKAGE], cache_directory() / "logs")
    except ClusterError as error:
        return str(error)
    if Path("/run/systemd/system").is_dir():
        # The server that comes along is not wanted, after a reboot neither.
        quiet(["systemctl", "disable", _SERVICE])
    return None


@functools.cache
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: `make promtool` brings one as root, it is in Debian's prometheus")
    return found


def run_promtool(
    *arguments: str | Path, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [promtool(), *arguments], input=text, capture_output=True, text=True, check=False
    )


def main() -> int:
    """Try to have promtool: its tests are skipped without it, so that is no failure."""
    why = install()
    if why:
        sys.stderr.write(f"no promtool, its tests will be skipped: {why}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
