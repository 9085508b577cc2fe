"""Programs that tests call and a machine may lack."""

import functools
import os
import shutil

import pytest
from local_cluster import packages
from local_cluster.layout import cache_directory


@functools.cache
def require_programs(**programs: str) -> None:
    """Have each program, from the Debian package that names it here; `_` stands for `-`."""
    missing = [
        package.replace("_", "-")
        for package, program in programs.items()
        if not shutil.which(program)
    ]
    if missing and os.geteuid() != 0:
        pytest.skip(f"{', '.join(missing)}: Debian's packages are installed by itself for root")
    if missing:
        packages.install(missing, cache_directory() / "logs")
