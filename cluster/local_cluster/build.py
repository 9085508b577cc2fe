"""Building the cluster's programs from Go modules, once for each state of their sources."""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .decide import GoVersion, garbage_collection, parse_go_version
from .inputs import content_hash
from .layout import CLONE, KUBERNETES_VERSION, PAUSE_IMAGE
from .packages import find_go
from .progress import run

SOURCES = CLONE / "cluster" / "node"
POLICY_ENGINE = CLONE / "cluster" / "policy"
S3_SERVER = CLONE / "cluster" / "s3"
OTHER_S3_SERVER = CLONE / "cluster" / "s3-other"
DEX = CLONE / "cluster" / "dex"
# Debug information is a seventh of the compiler's work; the linker would leave it out anyway.
# Inlining is a quarter of what is left. Go's own libraries keep it: every program's hot loops call
# them.
COMPILER_FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false -l", "-gcflags=std=-dwarf=false")
HELM_VERSIONS = "helm.sh/helm/v3/pkg/chartutil.k8sVersion"
# Of control groups' second version and of the first, as a container sees its own.
CONTROL_GROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
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
    return content_hash(SOURCES, [SOURCES], *COMPILER_FLAGS, _linker_flags())


def directory(cache: Path) -> Path:
    """Where the programs of these sources are, or will be."""
    return cache / f"node-{sources_hash()}"


def is_built(cache: Path) -> bool:
    """Whether these sources were built before."""
    return directory(cache).is_dir()


def build(cache: Path, logs: Path) -> Path:
    """The folder with local-cluster-node, helm, pause and pause.tar."""
    target = directory(cache)
    if not target.is_dir():
        with _draft(target) as draft:
            _compile(
                "building the cluster's programs (Go; kept for later starts)",
                SOURCES,
                (".", "./pause", "helm.sh/helm/v3/cmd/helm"),
                _linker_flags(),
                draft,
                logs / "go-build.log",
            )
            write_image(draft / "pause.tar", PAUSE_IMAGE, draft / "pause")
    return target


def build_policy_engine(cache: Path, logs: Path) -> Path:
    """The program that enforces NetworkPolicies: not the cluster's own, for tests of them."""
    return _build_program("policy engine", POLICY_ENGINE, "local-cluster-policy", cache, logs)


def build_s3_server(cache: Path, logs: Path) -> Path:
    """The program that S3_IMAGE holds, for tests without a cluster."""
    return _build_program("S3 server", S3_SERVER, "s3-server", cache, logs)


def build_other_s3_server(cache: Path, logs: Path) -> Path:
    """The program that OTHER_S3_IMAGE holds, likewise."""
    return _build_program("other S3 server", OTHER_S3_SERVER, "s3-other-server", cache, logs)


def build_dex(cache: Path, logs: Path) -> Path:
    """An issuer of tokens, for tests of logins."""
    return _build_program("Dex", DEX, "dex-server", cache, logs)


def _build_program(title: str, sources: Path, program: str, cache: Path, logs: Path) -> Path:
    name = title.replace(" ", "-").lower()
    target = cache / f"{name}-{content_hash(sources, [sources], *COMPILER_FLAGS)}"
    if not target.is_dir():
        with _draft(target) as draft:
            _compile(
                f"building the {title} (Go; kept for later runs)",
                sources,
                (".",),
                "-s -w",
                draft,
                logs / f"go-build-{name}.log",
            )
    return target / program


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A folder that becomes `target` once it is filled, so that no half of it is ever there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{target.name}-draft-", dir=target.parent))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def build_image(name: str, package: str, sources: Path, archive: Path, logs: Path) -> None:
    """An image of one Go program, a package of the module in `sources`."""
    with tempfile.TemporaryDirectory(prefix="program-draft-", dir=archive.parent) as directory:
        draft = Path(directory)
        short = name.rpartition("/")[2]
        log = logs / f"image-{short.partition(':')[0]}.log"
        _compile(f"building {short}", sources, (package,), "-s -w", draft, log)
        packed = draft / archive.name
        write_image(packed, name, draft / package.rpartition("/")[2])
        packed.rename(archive)


def _compile(
    title: str, sources: Path, packages: Sequence[str], linker_flags: str, target: Path, log: Path
) -> None:
    needed = parse_go_version((sources / "go.mod").read_text().partition("\ngo ")[2])
    go = find_go(needed or GoVersion(1, 24), log.parent)
    run(
        title,
        [
            *(go, "build", *COMPILER_FLAGS, "-ldflags", linker_flags, "-v", "-o", f"{target}/"),
            *packages,
        ],
        log,
        env={
            "CGO_ENABLED": "0",
            "GOFLAGS": "-buildvcs=false",
            "GOWORK": "off",
            **garbage_collection(_free_memory(), len(os.sched_getaffinity(0))),
        },
        cwd=sources,
    )


def _free_memory() -> int:
    """Bytes that programs may still take, of the machine's or of a container's."""
    told = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    free = [int(told[1]) * 1024] if told else []
    for limit in CONTROL_GROUP_LIMITS:
        text = limit.read_text().strip() if limit.exists() else ""
        free += [int(text)] if text.isdigit() else []
    return min(free, default=0)


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
