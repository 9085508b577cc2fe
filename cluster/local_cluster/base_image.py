"""Stand-in for Docker Hub's `debian:trixie-slim` where no registry can be reached."""

import shutil
import tempfile
from pathlib import Path

from .buildah import BASE, Buildah
from .errors import ClusterError
from .inputs import content_hash
from .progress import run, say

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Trimmed as the real slim image is: programs stay whole, what people read goes.
TRIMMED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")


def recipe_hash() -> str:
    """Change with every change of how the base image is made."""
    return content_hash(Path(__file__).parent, [Path(__file__)])


def _sources(*, with_updates: bool) -> str:
    suites = f"{SUITE} {SUITE}-updates" if with_updates else SUITE
    text = f"Types: deb\nURIs: {MIRROR}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n"
    if with_updates:
        text += (
            f"\nTypes: deb\nURIs: {SECURITY_MIRROR}\nSuites: {SUITE}-security\n"
            f"Components: main\nSigned-By: {KEYRING}\n"
        )
    return text


def ensure(buildah: Buildah, cache: Path, logs: Path) -> None:
    """Make what `FROM debian:trixie-slim` finds, once for each recipe."""
    versioned = f"localhost/debian-base:{recipe_hash()}"
    if not buildah.has(versioned):
        draft = Path(tempfile.mkdtemp(prefix="debian-draft-", dir=cache))
        try:
            try:
                _bootstrap(draft, logs, with_updates=True)
            except ClusterError:
                # Some mirrors carry the main archive only.
                say("without the updates and security archives, then")
                _bootstrap(draft, logs, with_updates=False)
            (draft / "debian.sources").unlink()
            (draft / "Dockerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["bash"]\n')
            run(
                "storing the Debian base image",
                [*buildah.command(), "bud", "--tag", versioned, draft],
                logs / "image-base.log",
            )
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    buildah.tag(versioned, BASE)


def _bootstrap(draft: Path, logs: Path, *, with_updates: bool) -> None:
    sources = draft / "debian.sources"
    sources.write_text(_sources(with_updates=with_updates))
    run(
        "making the Debian base image",
        [
            "mmdebstrap",
            "--variant=minbase",
            *(f'--dpkgopt=path-exclude="{pattern}"' for pattern in TRIMMED),
            '--dpkgopt=path-include="/usr/share/doc/*/copyright"',
            '--aptopt=Apt::Install-Recommends "false"',
            # What apt and dpkg were told for the trimming stays, as in the real image.
            SUITE,
            draft / "root.tar",
            sources,
        ],
        logs / "debian-base.log",
    )
