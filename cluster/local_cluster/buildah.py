"""Building images without a Docker engine."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .progress import quiet, run

BASE = "docker.io/library/debian:trixie-slim"
RUN_ROOT = Path("/run/backupexport-buildah")
# pip looks here for its settings for all users. A mount of this folder leaves nothing but its
# empty name in the image. The authorities go in beside the settings, not to their usual path:
# installing Debian's ca-certificates has to be able to replace the file there.
PIP_SETTINGS = "/etc/xdg/pip"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def pip_settings(environment: Mapping[str, str], *, has_authorities: bool) -> str:
    """Return the pip.conf for builds on a machine with this environment."""
    lines = ["[global]"]
    if has_authorities:
        lines.append(f"cert = {PIP_SETTINGS}/authorities.pem")
    for option in ("index-url", "extra-index-url", "trusted-host", "timeout", "retries"):
        value = environment.get("PIP_" + option.upper().replace("-", "_"))
        if value:
            lines.append(f"{option} = {value}")
    return "\n".join(lines) + "\n"


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

    def make_base(self, root_tar: Path, version: str) -> None:
        """Tag the root file system so that `FROM debian:trixie-slim` finds it."""
        versioned = f"localhost/debian-base:{version}"
        if not self.has(versioned):
            folder = root_tar.parent / "debian-context"
            folder.mkdir(exist_ok=True)
            (folder / "Dockerfile").write_text(
                f'FROM scratch\nADD {root_tar.name} /\nCMD ["bash"]\n'
            )
            (folder / root_tar.name).unlink(missing_ok=True)
            os.link(root_tar, folder / root_tar.name)
            run(
                "storing the Debian base image",
                [*self.command(), "bud", "--tag", versioned, folder],
                self._logs / "image-base.log",
            )
            (folder / root_tar.name).unlink()
        quiet([*self.command(), "tag", versioned, BASE])

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
            *("--volume", f"{self._pip_settings()}:{PIP_SETTINGS}:ro"),
        ]
        short = reference.rpartition("/")[2]
        log = self._logs / f"image-{short.partition(':')[0]}.log"
        run(f"building {short}", [*words, context], log)

    def _pip_settings(self) -> Path:
        """Make the machine's own way to a package index a matter of the build alone."""
        folder = self._storage / "pip"
        folder.mkdir(exist_ok=True)
        configured = Path(os.environ.get("SSL_CERT_FILE") or AUTHORITIES)
        authorities = configured if configured.is_file() else AUTHORITIES
        if authorities.is_file():
            shutil.copyfile(authorities, folder / "authorities.pem")
        has_authorities = (folder / "authorities.pem").exists()
        settings = pip_settings(os.environ, has_authorities=has_authorities)
        (folder / "pip.conf").write_text(settings)
        return folder

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
