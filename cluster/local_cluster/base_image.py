"""Stand-in for Docker Hub's `debian:trixie-slim` where no registry can be reached."""

import shutil
import tempfile
from pathlib import Path

from .buildah import BASE, Buildah
from .inputs import content_hash
from .progress import run

SUITE = "trixie"
# Trimmed as the real slim image is: programs stay whole, what people read goes.
TRIMMED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")


def recipe_hash() -> str:
    """Change with every change of how the base image is made."""
    return content_hash(Path(__file__).parent, [Path(__file__)])


def ensure(buildah: Buildah, cache: Path, logs: Path) -> None:
    """Make what `FROM debian:trixie-slim` finds, once for each recipe."""
    versioned = f"localhost/debian-base:{recipe_hash()}"
    if not buildah.has(versioned):
        draft = Path(tempfile.mkdtemp(prefix="debian-draft-", dir=cache))
        try:
            _bootstrap(draft, logs)
            (draft / "Dockerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["bash"]\n')
            run(
                "storing the Debian base image",
                [*buildah.command(), "bud", "--tag", versioned, draft],
                logs / "image-base.log",
            )
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    buildah.tag(versioned, BASE)


def _bootstrap(draft: Path, logs: Path) -> None:
    run(
        "making the Debian base image",
        [
            "mmdebstrap",
            "--variant=minbase",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in TRIMMED),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            '--aptopt=Apt::Install-Recommends "false"',
            # What apt and dpkg were told for the trimming stays, as in the real image.  Without
            # a mirror in the call it is Debian's own, with updates and security.
            SUITE,
            draft / "root.tar",
        ],
        logs / "debian-base.log",
    )
