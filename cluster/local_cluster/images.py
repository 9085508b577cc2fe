"""The project's images: which there are, what they are made of, and how they get to the node."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import base_image, build, handle, mounts
from . import native as cluster
from .buildah import RUN_ROOT, Buildah
from .errors import ClusterError
from .inputs import context_hash
from .layout import CLONE, Handle, State, cache_directory
from .locking import turn
from .progress import say, side_by_side

LOCK = Path("/run/lock/backupexport-images.lock")
KEPT_ARCHIVES = 3


@dataclass(frozen=True)
class Image:
    """An image to build, and the variable its reference is published under."""

    variable: str
    repository: str
    context: Path
    dockerfile: Path
    target: str | None = None
    # A Go package of the module in `context`: natively its program is built, and is all there is
    # in the image, so that no Go has to be installed in one, nor compile its libraries again.
    program: str | None = None
    only_tests: bool = False

    def reference(self, registry: str = "docker.io/library") -> str:
        """Name it by its contents, so that unchanged inputs find it built."""
        tag = context_hash(self.context, self.dockerfile, base_image.recipe_hash())
        return f"{registry}/{self.repository}:{tag}"


POSTGRES = CLONE / "cluster" / "postgres"
POSTGRES_MAJORS = CLONE / "cluster" / "postgres-majors"
VALKEY = CLONE / "cluster" / "valkey"
MAIL = CLONE / "cluster" / "mail"
S3 = build.S3_SERVER
OTHER_S3 = build.OTHER_S3_SERVER
IMAGES = (
    Image("IMAGE", "backupexport", CLONE, CLONE / "Dockerfile", "controller"),
    Image("RUNNER_IMAGE", "backupexport-runner", CLONE, CLONE / "Dockerfile", "runner"),
    Image("POSTGRES_IMAGE", "backupexport-postgres", POSTGRES, POSTGRES / "Dockerfile", "newest"),
    Image(
        "POSTGRES_15_IMAGE",
        "backupexport-postgres-15",
        POSTGRES,
        POSTGRES / "Dockerfile",
        "older",
        only_tests=True,
    ),
    Image(
        "POSTGRES_MAJORS_IMAGE",
        "backupexport-postgres-majors",
        POSTGRES_MAJORS,
        POSTGRES_MAJORS / "Dockerfile",
        only_tests=True,
    ),
    Image("VALKEY_IMAGE", "backupexport-valkey", VALKEY, VALKEY / "Dockerfile"),
    Image(
        "MAIL_IMAGE",
        "backupexport-mail",
        MAIL,
        MAIL / "Dockerfile",
        program="backupexport.dev/mail-server",
    ),
    Image(
        "S3_IMAGE", "backupexport-s3", S3, S3 / "Dockerfile", program="backupexport.dev/s3-server"
    ),
    Image(
        "OTHER_S3_IMAGE",
        "backupexport-s3-other",
        OTHER_S3,
        OTHER_S3 / "Dockerfile",
        program="backupexport.dev/s3-other-server",
        only_tests=True,
    ),
)


def available(*, tests: bool) -> list[Image]:
    """Every image, with or without the tests' own; an error where a Dockerfile is missing."""
    wanted = [image for image in IMAGES if tests or not image.only_tests]
    missing = [image.dockerfile for image in wanted if not image.dockerfile.is_file()]
    if missing:
        raise ClusterError(f"There is no {missing[0]} to build from.")
    return wanted


def _archive(cache: Path, reference: str) -> Path:
    return cache / "images" / (reference.rpartition("/")[2].replace(":", "-") + ".tar")


def native(up: Callable[[], None], *, tests: bool) -> None:
    """Build what is not in the cache, side by side with starting the cluster."""
    state, cache = State(), cache_directory()
    references = {image: image.reference() for image in available(tests=tests)}
    missing = {i: name for i, name in references.items() if not _archive(cache, name).exists()}
    by_buildah = {image: name for image, name in missing.items() if image.program is None}
    if by_buildah:
        side_by_side(up, lambda: _build(cache, by_buildah))
    else:
        up()
    # After the cluster's programs, or both would compile Go's own libraries.
    if missing.keys() - by_buildah.keys():
        _build_programs(cache, missing)
    present = cluster.images(state)
    for name in references.values():
        if name not in present:
            say(f"bringing {name.rpartition('/')[2]} to the node")
            cluster.import_image(state, _archive(cache, name))
    # The tests' own, too, if the node has them: a demo takes them from nobody.
    everything = {image.variable: image.reference() for image in IMAGES}
    known = present.union(references.values())
    handle.write_images(
        Handle(), {variable: name for variable, name in everything.items() if name in known}
    )
    say(f"images: {', '.join(name.rpartition('/')[2] for name in references.values())}")


def _build_programs(cache: Path, wanted: dict[Image, str]) -> None:
    with turn(LOCK, "image build"):
        (cache / "images").mkdir(parents=True, exist_ok=True)
        for image, name in wanted.items():
            archive = _archive(cache, name)
            if image.program is not None and not archive.exists():
                build.build_image(name, image.program, image.context, archive, cache / "logs")
                _prune(archive, image.repository)


def _build(cache: Path, wanted: dict[Image, str]) -> None:
    with turn(LOCK, "image build"):
        (cache / "images").mkdir(parents=True, exist_ok=True)
        buildah = Buildah(cache)
        buildah.forget_failures()
        base_image.ensure(buildah, cache, cache / "logs")

        def chain(images: list[Image]) -> None:
            for image in images:
                archive = _archive(cache, wanted[image])
                if archive.exists():
                    # Another clone has built it while this one waited.
                    continue
                buildah.build(wanted[image], image.context, image.dockerfile, image.target)
                buildah.export(wanted[image], archive)
                _prune(archive, image.repository)

        # Targets of one Dockerfile share their first layers, so those go one after the other.
        contexts = {image.context for image in wanted}
        side_by_side(
            *(
                lambda context=context: chain([i for i in wanted if i.context == context])
                for context in contexts
            )
        )


def _prune(newest: Path, repository: str) -> None:
    of_this = [
        file
        for file in newest.parent.glob(f"{repository}-*.tar")
        # backupexport-*.tar would match backupexport-runner-*.tar, too.
        if file.stem.removeprefix(f"{repository}-").isalnum()
    ]
    of_this.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    for file in of_this[KEPT_ARCHIVES:]:
        file.unlink(missing_ok=True)


def purge(cache: Path) -> None:
    """Remove the whole cache."""
    mounts.release(cache)
    shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(RUN_ROOT, ignore_errors=True)
