"""Building images without a Docker engine."""

import os
from collections.abc import Mapping
from pathlib import Path

from .progress import quiet, run

BASE = "docker.io/library/debian:trixie-slim"
RUN_ROOT = Path("/run/backupexport-buildah")
# Where a package index is, and whom to trust, is the machine's affair: a Dockerfile that declares
# these as ARG gets them, and nothing of them stays in the image.
PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "GOPROXY")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def authorities(environment: Mapping[str, str]) -> Path | None:
    """Return the machine's own bundle of certificate authorities."""
    candidates = [environment.get("SSL_CERT_FILE"), AUTHORITIES]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def machine_words(environment: Mapping[str, str], bundle: Path | None) -> list[str]:
    """Return the options that make a build use this machine's index and authorities."""
    words = []
    if bundle:
        # The usual path, so that every program finds it. Debian's ca-certificates cannot be
        # installed over a mount; a Dockerfile has to do without, or unpack it.
        words += ["--volume", f"{bundle}:{AUTHORITIES}:ro"]
        words += ["--build-arg", f"PIP_CERT={AUTHORITIES}"]
    for name in PASSED_ON:
        if environment.get(name):
            words += ["--build-arg", f"{name}={environment[name]}"]
    return words


class Buildah:
    """One buildah with a storage of its own, apart from the machine's containers."""

    def __init__(self, cache: Path) -> None:
        self._storage = cache / "buildah"
        self._driver_file = self._storage / "driver"
        self._logs = cache / "logs"

    def _command(self, driver: str) -> list[str | Path]:
        root = self._storage / driver
        return [
            "buildah",
            *("--root", root / "root"),
            *("--runroot", RUN_ROOT / driver),
            *("--storage-driver", driver),
        ]

    def command(self) -> list[str | Path]:
        """Return the words every call begins with."""
        self._storage.mkdir(parents=True, exist_ok=True)
        if not self._driver_file.exists():
            # Overlay is refused on some file systems, above all on overlay itself.
            probe = quiet([*self._command("overlay"), "info"])
            self._driver_file.write_text("overlay" if probe.returncode == 0 else "vfs")
        return self._command(self._driver_file.read_text().strip())

    def has(self, reference: str) -> bool:
        """Whether the storage holds an image."""
        return quiet([*self.command(), "inspect", "--type", "image", reference]).returncode == 0

    def tag(self, reference: str, another: str) -> None:
        """Give an image a second name."""
        quiet([*self.command(), "tag", reference, another])

    def build(
        self, reference: str, context: Path, dockerfile: Path, target: str | None = None
    ) -> None:
        """Build one target of a Dockerfile, with layers from before."""
        words: list[str | Path] = [
            *self.command(),
            "bud",
            *("--isolation", "chroot"),
            "--layers",
            "--pull-never",
            *("--tag", reference),
            *("--file", dockerfile),
            *(("--target", target) if target else ()),
            # The stand-in has another digest than Docker Hub's, which a Dockerfile may name.
            *("--build-arg", f"BASE_IMAGE={BASE}"),
            # These are for tests and demos, and a machine's mirror may stand still.
            *("--build-arg", "DEBIAN_CHECK_VALID_UNTIL=false"),
            *machine_words(os.environ, authorities(os.environ)),
        ]
        short = reference.rpartition("/")[2]
        log = self._logs / f"image-{short.partition(':')[0]}.log"
        run(f"building {short}", [*words, context], log)

    def forget_failures(self) -> None:
        """Remove the half-made containers that failed builds leave."""
        quiet([*self.command(), "rm", "--all"])

    def export(self, reference: str, archive: Path) -> None:
        """Pack an image for the node's containerd."""
        draft = archive.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        short = reference.rpartition("/")[2]
        run(
            f"packing {short}",
            [
                *self.command(),
                "push",
                "--disable-compression",
                reference,
                f"oci-archive:{draft}:{reference}",
            ],
            self._logs / f"pack-{short.partition(':')[0]}.log",
        )
        draft.rename(archive)
