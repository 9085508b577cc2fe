"""Building the cluster's programs from Go modules, once for each state of their sources."""

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from pathlib import Path

from .decide import GoVersion, parse_go_version
from .inputs import content_hash
from .layout import CLONE, KUBERNETES_VERSION, PAUSE_IMAGE
from .packages import find_go
from .progress import run

SOURCES = CLONE / "cluster" / "node"
HELM_VERSIONS = "helm.sh/helm/v3/pkg/chartutil.k8sVersion"
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


def _linker_flags() -> str:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {
        "gitVersion": f"v{KUBERNETES_VERSION}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    stamps = [f"-X {p}.{name}={value}" for p in VERSION_PACKAGES for name, value in values.items()]
    # Without a cluster to ask, helm renders for the version that it was built for.
    stamps += [f"-X {HELM_VERSIONS}Major={major}", f"-X {HELM_VERSIONS}Minor={minor}"]
    return " ".join(["-s", "-w", *stamps])


def sources_hash() -> str:
    """Change with everything that goes into the programs."""
    return content_hash(SOURCES, [SOURCES], _linker_flags())


def directory(cache: Path) -> Path:
    """Where the programs of these sources are, or will be."""
    return cache / f"node-{sources_hash()}"


def is_built(cache: Path) -> bool:
    """Whether these sources were built before."""
    return directory(cache).is_dir()


def build(cache: Path, logs: Path) -> Path:
    """The folder with local-cluster-node, helm, pause and pause.tar."""
    target = directory(cache)
    if target.is_dir():
        return target
    needed = parse_go_version((SOURCES / "go.mod").read_text().partition("\ngo ")[2])
    go = find_go(needed or GoVersion(1, 24), logs)
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="node-draft-", dir=cache))
    try:
        run(
            "building the cluster's programs (Go; the first time 4-5 minutes)",
            [
                *(go, "build", "-trimpath", "-ldflags", _linker_flags(), "-v", "-o", f"{draft}/"),
                *(".", "./pause", "helm.sh/helm/v3/cmd/helm"),
            ],
            logs / "go-build.log",
            env={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"},
            cwd=SOURCES,
        )
        write_image(draft / "pause.tar", PAUSE_IMAGE, draft / "pause")
        draft.chmod(0o755)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def write_image(archive: Path, name: str, program: Path) -> None:
    """An image of one static program, in the format of `docker save`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo(program.name)
        entry.mode = 0o755
        entry.size = program.stat().st_size
        with program.open("rb") as file:
            tar.addfile(entry, file)
    config = json.dumps(
        {
            "architecture": _architecture(program),
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()],
            },
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    parts = {
        "config.json": config,
        "layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(archive, mode="w") as tar:
        for part, data in parts.items():
            entry = tarfile.TarInfo(part)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _architecture(program: Path) -> str:
    # The machine field of the ELF header; the image has to say what the program says.
    with program.open("rb") as file:
        machine = int.from_bytes(file.read(20)[18:20], "little")
    return {0x3E: "amd64", 0xB7: "arm64"}.get(machine, "amd64")
