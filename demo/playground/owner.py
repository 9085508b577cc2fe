"""What an owner of encrypted exports has on a machine of their own: programs, and a key of age."""

import os
import shutil
import subprocess
from pathlib import Path

from local_cluster import packages
from local_cluster.layout import cache_directory

from playground.tools import ToolError

# Of Debian, each with a program of its own name.
_PACKAGES = ("age", "curl", "zstd")


def require_programs() -> None:
    """Have age, curl and zstd here, from Debian's packages where they are missing."""
    missing = [package for package in _PACKAGES if shutil.which(package) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ToolError(
            f"{' and '.join(missing)} must be here to fetch and decrypt an export. Debian's "
            "packages are installed by themselves only for root: have them on the PATH."
        )
    packages.install(missing, cache_directory() / "logs")


def recipient(identity: Path) -> str:
    """To whom is encrypted what only `identity` decrypts; that file is made if it isn't there."""
    if not identity.exists():
        subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    return subprocess.check_output(["age-keygen", "-y", identity], text=True).strip()
