"""The Debian packages the native cluster needs."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .decide import GoVersion, go_fits, parse_go_version
from .errors import ClusterError
from .progress import quiet, run

# Package to a file that proves it is there.
_PROOF = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "buildah": "/usr/bin/buildah",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "conntrack": "/usr/sbin/conntrack",
    "nftables": "/usr/sbin/nft",
    "iptables": "/usr/sbin/iptables",
}
POLICY = Path("/usr/sbin/policy-rc.d")
_GO_CANDIDATES = ("golang-go", "golang-1.26-go", "golang-1.25-go", "golang-1.24-go")


def missing() -> list[str]:
    """Packages that are not installed."""
    return [package for package, proof in _PROOF.items() if not Path(proof).exists()]


def names() -> list[str]:
    """All packages the cluster uses."""
    return list(_PROOF)


@contextmanager
def _services_not_started() -> Iterator[None]:
    """Debian starts a package's daemon at once; ours runs its own containerd beside it."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install(packages: list[str], logs: Path) -> None:
    """Install packages without starting their services."""
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            "The native cluster needs these Debian packages, and there is no apt-get here to "
            f"install them: {' '.join(packages)}. With a Docker engine and kind, CLUSTER=kind "
            "works on any machine; CLUSTER=current uses the cluster of your kubeconfig."
        )
    apt = ["apt-get", "-y", "-o", "DPkg::Lock::Timeout=300"]
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run("reading the package lists", [*apt, "update"], logs / "apt-update.log", env=env)
    with _services_not_started():
        run(
            f"installing {' '.join(packages)}",
            [*apt, "install", "--no-install-recommends", *packages],
            logs / "apt-install.log",
            env=env,
        )
    if "containerd" in packages and Path("/run/systemd/system").is_dir():
        quiet(["systemctl", "disable", "containerd.service"])


def find_go(needed: GoVersion, logs: Path) -> Path:
    """A Go that fits, installed from Debian if that has one."""
    versions = []
    places = [
        *(Path(place) for place in os.environ.get("PATH", "").split(":") if place),
        Path("/usr/local/go/bin"),
        *sorted(Path("/usr/lib").glob("go-1.*/bin"), reverse=True),
    ]
    for place in places:
        if os.access(place / "go", os.X_OK):
            text = quiet([place / "go", "version"]).stdout
            if go_fits(parse_go_version(text), needed):
                return place / "go"
            versions.append(text.strip())
    for package in _GO_CANDIDATES:
        policy = quiet(["apt-cache", "policy", package]).stdout if shutil.which("apt-cache") else ""
        candidate = policy.partition("Candidate:")[2].partition("\n")[0]
        if go_fits(parse_go_version(candidate), needed):
            install([package], logs)
            return find_go(needed, logs)
    found = f" Found: {'; '.join(versions)}." if versions else ""
    raise ClusterError(
        f"Building the cluster's programs needs Go {needed.major}.{needed.minor} or newer, and "
        f"neither this machine nor its Debian packages have one.{found} Get it from "
        "https://go.dev/dl/ (unpacked to /usr/local/go it is found there), or on Debian bookworm "
        "from bookworm-backports, and run this again."
    )
