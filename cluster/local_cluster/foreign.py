"""Clusters that are not ours to build: kind, and the one the user's kubeconfig points to."""

import os
import shutil

from . import handle
from .decide import Mode
from .errors import ClusterError
from .images import Image, available
from .layout import Handle, cache_directory
from .progress import quiet, run, say

KIND_NAME = "backupexport"
# Their build, push and info commands are alike enough.
BUILDERS = ("docker", "podman", "buildah")


def _kind_runs() -> bool:
    return KIND_NAME in quiet(["kind", "get", "clusters"]).stdout.split()


def _builder(candidates: tuple[str, ...]) -> str:
    for name in candidates:
        if shutil.which(name) and quiet([name, "info"]).returncode == 0:
            return name
    raise ClusterError(f"Building images here needs a working {' or '.join(candidates)}.")


def up(mode: Mode) -> None:
    """Write `.cluster/`, and make the kind cluster if there is none."""
    target = Handle()
    tools = handle.tools_on_path(target)
    if mode is Mode.KIND:
        if shutil.which("kind") is None:
            raise ClusterError("CLUSTER=kind needs kind on PATH: https://kind.sigs.k8s.io")
        _builder(("docker",))
        if not _kind_runs():
            draft = target.root / "kind.kubeconfig"
            run(
                "creating the kind cluster",
                ["kind", "create", "cluster", "--name", KIND_NAME, "--kubeconfig", draft],
                cache_directory() / "logs" / "kind.log",
            )
            draft.unlink(missing_ok=True)
        told = quiet(["kind", "get", "kubeconfig", "--name", KIND_NAME])
    else:
        told = quiet(["kubectl", "config", "view", "--raw", "--minify", "--flatten"])
    if told.returncode != 0:
        raise ClusterError(f"No kubeconfig to be had: {told.stderr.strip()}")
    handle.write(target, mode, told.stdout, tools)
    status(mode)


def status(mode: Mode) -> None:
    """Ask the API server whether it is ready."""
    answer = quiet(
        [
            *("kubectl", "--kubeconfig", Handle().kubeconfig, "--request-timeout=10s"),
            *("get", "--raw", "/readyz"),
        ]
    )
    if answer.returncode != 0:
        raise ClusterError(f"The {mode.value} cluster does not answer: {answer.stderr.strip()}")
    say(f"the {mode.value} cluster answers")


def images(mode: Mode, *, tests: bool) -> None:
    """Build with the machine's own tool, then load (kind) or push (current)."""
    if mode is Mode.KIND:
        builder, registry = _builder(("docker",)), "docker.io/library"
    else:
        builder, registry = _builder(BUILDERS), os.environ.get("REGISTRY", "").rstrip("/")
        if not registry:
            raise ClusterError(
                "CLUSTER=current needs REGISTRY: where to push the images, as the cluster can "
                "pull them, for example REGISTRY=registry.example.com/team."
            )
    logs = cache_directory() / "logs"
    references = {}
    for image in available(tests=tests):
        reference = references[image.variable] = image.reference(registry)
        run(f"building {reference}", _build_command(builder, image, reference), logs / "build.log")
        if mode is Mode.KIND:
            load = ["kind", "load", "docker-image", "--name", KIND_NAME, reference]
            run(f"loading {reference}", load, logs / "load.log")
        else:
            run(f"pushing {reference}", [builder, "push", reference], logs / "push.log")
    handle.write_images(Handle(), references)


def _build_command(builder: str, image: Image, reference: str) -> list[str]:
    target = ["--target", image.target] if image.target else []
    files = ["--file", str(image.dockerfile), "--tag", reference]
    return [builder, "build", *target, *files, str(image.context)]


def down(mode: Mode) -> None:
    """Remove the kind cluster; leave the user's own cluster alone."""
    if mode is Mode.KIND and _kind_runs():
        run(
            "deleting the kind cluster",
            ["kind", "delete", "cluster", "--name", KIND_NAME],
            cache_directory() / "logs" / "kind.log",
        )
    if mode is Mode.CURRENT:
        say("the cluster itself is not ours to remove; only .cluster/ goes")
