"""The local cluster's decisions: what `up` does, what makes an image new, which process is ours."""

import json
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from local_cluster import build, handle, images, native
from local_cluster.buildah import machine_words
from local_cluster.components import CRASHABLE, command_lines
from local_cluster.configuration import kubeconfigs, plain_files
from local_cluster.decide import (
    Action,
    GoVersion,
    Mode,
    Observed,
    choose_mode,
    decide,
    garbage_collection,
    go_fits,
    missing_for_native,
    parse_go_version,
    refuse_crash,
)
from local_cluster.inputs import content_hash, context_hash, copied_sources
from local_cluster.layout import CLONE, State
from local_cluster.native import kill
from local_cluster.processes import Process, alive, belongs_to_cluster, start_time
from local_cluster.record import Record, save

RUNNING = Observed(recorded=True, inputs="a", healthy=True)


@pytest.mark.parametrize(
    ("observed", "action"),
    [
        (Observed(), Action.CREATE),
        (RUNNING, Action.REUSE),
        (Observed(recorded=True, inputs="b", healthy=True), Action.REPLACE),
        (Observed(recorded=True, inputs="a", same_boot=False, healthy=True), Action.REPLACE),
        (Observed(recorded=True, inputs="a", finished_start=False), Action.REPLACE),
        (Observed(recorded=True, inputs="a", dead=("etcd",)), Action.REPAIR),
        (Observed(recorded=True, inputs="a", healthy=False), Action.REPAIR),
        # Repairing what is to be replaced anyway would be in vain.
        (Observed(recorded=True, inputs="b", dead=("etcd",)), Action.REPLACE),
    ],
)
def test_up_does_what_the_observed_state_asks_for(observed: Observed, action: Action) -> None:
    assert decide(observed, "a").action is action


def test_a_repair_names_what_died() -> None:
    observed = Observed(recorded=True, inputs="a", dead=("etcd", "kubelet"))
    assert "etcd, kubelet" in decide(observed, "a").why


def test_only_what_up_would_bring_back_is_crashed() -> None:
    assert refuse_crash(RUNNING, "a", "kubelet", CRASHABLE) is None


@pytest.mark.parametrize(
    ("observed", "name", "why"),
    [
        (RUNNING, "etcd", "what can be crashed is"),
        (Observed(), "kubelet", "no local cluster"),
        (Observed(recorded=True, inputs="b", healthy=True), "kubelet", "other sources"),
        (Observed(recorded=True, inputs="a", dead=("containerd",)), "kubelet", "containerd"),
        (Observed(recorded=True, inputs="a"), "kubelet", "not ready"),
    ],
)
def test_nothing_else_is_crashed(observed: Observed, name: str, why: str) -> None:
    assert why in (refuse_crash(observed, "a", name, CRASHABLE) or "")


@pytest.mark.parametrize(
    ("configured", "docker_works", "has_kind", "expected"),
    [
        ("", True, True, Mode.KIND),
        ("", False, True, Mode.NATIVE),
        ("", True, False, Mode.NATIVE),
        ("native", True, True, Mode.NATIVE),
        ("current", False, False, Mode.CURRENT),
        ("minikube", True, True, None),
    ],
)
def test_mode(configured: str, docker_works: bool, has_kind: bool, expected: Mode | None) -> None:
    assert choose_mode(configured, docker_works=docker_works, has_kind=has_kind) is expected


def test_native_says_what_is_missing() -> None:
    assert missing_for_native(system="Linux", user_id=0) == []
    assert missing_for_native(system="Linux", user_id=1000) == ["root (sudo)"]
    assert missing_for_native(system="Darwin", user_id=501)[0].startswith("Linux")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", GoVersion(1, 26)),
        ("go version go1.27rc1 linux/amd64", GoVersion(1, 27)),
        ("2:1.19~1", GoVersion(1, 19)),
        ("1.24.0", GoVersion(1, 24)),
        ("(none)", None),
        ("", None),
    ],
)
def test_go_versions(text: str, expected: GoVersion | None) -> None:
    assert parse_go_version(text) == expected


def test_go_has_to_be_new_enough() -> None:
    needed = GoVersion(1, 24)
    assert go_fits(GoVersion(1, 24), needed)
    assert not go_fits(GoVersion(1, 9), needed)
    assert not go_fits(None, needed)


@pytest.mark.parametrize(
    ("gigabytes", "processors", "share"),
    [(22, 2, "5632MiB"), (16, 4, "2048MiB"), (15, 4, None), (24, 16, None), (0, 2, None)],
)
def test_compilers_leave_garbage_where_memory_lasts(
    gigabytes: int, processors: int, share: str | None
) -> None:
    expected = {"GOGC": "off", "GOMEMLIMIT": share} if share else {}
    assert garbage_collection(gigabytes << 30, processors) == expected


DOCKERFILE = """
FROM debian:trixie-slim AS base
# COPY commented /out
COPY requirements/api.txt requirements/operator.txt \\
     /tmp/
COPY --chown=10:10 api/ /app/api/
FROM base AS controller
COPY --from=base /built /built
COPY ["crds", "/app/crds"]
RUN --mount=type=bind,source=pyproject.toml,target=/src/pyproject.toml \\
    --mount=type=cache,target=/root/.cache true
"""


def test_sources_of_a_dockerfile() -> None:
    assert copied_sources(DOCKERFILE) == [
        "requirements/api.txt",
        "requirements/operator.txt",
        "api/",
        "crds",
        "pyproject.toml",
    ]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "main.py").write_text("1")
    (tmp_path / "docs.md").write_text("text")
    (tmp_path / "Dockerfile").write_text("FROM x\nCOPY api /api\nCOPY req*.txt /\n")
    return tmp_path


def test_an_image_is_new_when_something_copied_changes(context: Path) -> None:
    dockerfile = context / "Dockerfile"
    before = context_hash(context, dockerfile)
    (context / "docs.md").write_text("another text")
    (context / "api" / "__pycache__").mkdir()
    (context / "api" / "__pycache__" / "main.pyc").write_bytes(b"1")
    assert context_hash(context, dockerfile) == before

    (context / "requirements.txt").write_text("fastapi")
    with_requirements = context_hash(context, dockerfile)
    (context / "api" / "main.py").write_text("2")
    changed = context_hash(context, dockerfile)
    assert len({before, with_requirements, changed, context_hash(context, dockerfile, "b")}) == 4


def test_a_hash_tells_names_and_contents_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("bc")
    first = content_hash(tmp_path, [tmp_path])
    (tmp_path / "a").rename(tmp_path / "ab")
    (tmp_path / "ab").write_text("c")
    assert content_hash(tmp_path, [tmp_path]) != first


def test_a_reused_process_id_is_not_the_process(tmp_path: Path) -> None:
    own = int(Path("/proc/self").resolve().name)
    started = start_time(own)
    assert started is not None
    assert alive(Process(own, started))
    assert not alive(Process(own, started - 1))


ROOT = Path("/var/lib/cluster")


@pytest.mark.parametrize(
    ("program", "argv", "mounts", "ours"),
    [
        ("containerd", ["containerd", "--config=/var/lib/cluster/config/c.toml"], "", True),
        ("containerd", ["containerd"], "", False),
        ("containerd", ["containerd", "--config=/var/lib/cluster-old/c.toml"], "", False),
        ("vim", ["vim", "/var/lib/cluster/config/c.toml"], "", False),
        (
            "sleep",
            ["sleep"],
            "1 0 0:1 / / rw - overlay overlay rw,upperdir=/var/lib/cluster/containerd/1/fs",
            True,
        ),
        (
            "sleep",
            ["sleep"],
            "1 0 0:1 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/1/diff",
            False,
        ),
        # A program on the machine sees our containers' mounts; it does not live in one.
        (
            "bash",
            ["bash"],
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
            "2 1 0:1 / /x rw - overlay overlay rw,upperdir=/var/lib/cluster/containerd/1/fs",
            False,
        ),
    ],
)
def test_only_our_own_processes_are_stopped(
    program: str, argv: list[str], mounts: str, ours: bool
) -> None:
    assert belongs_to_cluster(ROOT, program, argv, mounts) is ours


def test_every_component_works_on_the_state_folder_only(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.pki.mkdir()
    for name in ("ca", "controller-manager", "scheduler", "kubelet", "proxy", "coredns"):
        (state.pki / f"{name}.crt").write_text("certificate")
        (state.pki / f"{name}.key").write_text("key")
    for suffix in ("crt", "key"):
        (state.pki / f"provisioner.{suffix}").write_text("x")
    files = plain_files(state, "nameserver 192.0.2.1\n") | kubeconfigs(state)
    for line in command_lines(state, Path("/cache/node")).values():
        for word in line:
            path = word.rpartition("=")[2]
            if path.startswith(f"{state.config}/"):
                assert path.removeprefix(f"{state.config}/") in files
    assert "forward" in files["Corefile"]
    assert "forward" not in plain_files(state, "search example.org\n")["Corefile"]


def test_a_build_gets_the_machines_index_and_authorities() -> None:
    environment = {"PIP_INDEX_URL": "https://example.org/simple", "PIP_TARGET": "/x", "HOME": "/"}
    assert machine_words(environment, Path("/own.pem")) == [
        *("--volume", "/own.pem:/etc/ssl/certs/ca-certificates.crt:ro"),
        *("--build-arg", "PIP_CERT=/etc/ssl/certs/ca-certificates.crt"),
        *("--build-arg", "PIP_INDEX_URL=https://example.org/simple"),
    ]
    assert machine_words({}, None) == []


def test_a_crash_ends_the_recorded_process_and_no_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        try:
            recorded = {
                name: Process(each.pid, start_time(each.pid) or 0)
                for name, each in (("kubelet", one), ("containerd", other))
            }
            # Another process has the id now: the start time says so.
            recorded["kube-proxy"] = Process(other.pid, recorded["containerd"].started - 1)
            state = State(tmp_path)
            save(state, Record(boot="b", inputs="i", node_binary="n", processes=recorded))
            kill(state, "kubelet")
            kill(state, "kube-proxy")
            assert one.wait(timeout=60) == -signal.SIGKILL
            assert not alive(recorded["kubelet"])
            assert alive(recorded["containerd"])
        finally:
            one.kill()
            other.kill()


def test_the_demo_gets_the_images_it_runs_and_no_more() -> None:
    sources = "".join(file.read_text() for file in (CLONE / "demo").rglob("*.py"))
    named = set(re.findall(r'"((?:[A-Z0-9]+_)*IMAGE)"', sources))
    assert {image.variable for image in images.available(tests=False)} == named
    assert {image.variable for image in images.available(tests=True)} > named


def test_what_the_node_has_of_the_tests_images_stays_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = {image.variable: image.reference() for image in images.IMAGES}
    present: set[str] = set()
    published: list[dict[str, str]] = []
    monkeypatch.setenv("BACKUPEXPORT_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "images", lambda _: present)
    monkeypatch.setattr(native, "import_image", lambda *_: None)
    monkeypatch.setattr(handle, "write_images", lambda _, told: published.append(told))
    (tmp_path / "images").mkdir()
    for name in references.values():
        (tmp_path / "images" / f"{name.rpartition('/')[2].replace(':', '-')}.tar").touch()

    images.native(lambda: None, tests=False)
    present.update(references.values())
    images.native(lambda: None, tests=False)

    own = ("POSTGRES_15_IMAGE", "POSTGRES_MAJORS_IMAGE", "OTHER_S3_IMAGE")
    tests_own = {name: references.pop(name) for name in own}
    assert published == [references, references | tests_own]


def test_the_policy_engine_is_built_once_and_never_by_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts: list[Path] = []

    def compile_nothing(*arguments: Path) -> None:
        drafts.append(arguments[4])
        if len(drafts) == 1:
            raise KeyboardInterrupt
        (arguments[4] / "local-cluster-policy").touch()

    monkeypatch.setattr(build, "_compile", compile_nothing)
    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        build.build_policy_engine(cache, tmp_path)
    assert not list(cache.iterdir())
    built = build.build_policy_engine(cache, tmp_path)
    assert build.build_policy_engine(cache, tmp_path) == built
    assert len(drafts) == 2
    assert built.is_file()


def test_a_program_becomes_an_image_that_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_nothing(
        _title: str, _sources: Path, packages: tuple[str, ...], *rest: Path
    ) -> None:
        assert packages == ("example.org/mail/postbox",)
        (rest[1] / "postbox").write_bytes(b"\x7fELF" + bytes(14) + b"\x3e\x00")

    monkeypatch.setattr(build, "_compile", compile_nothing)
    archive = tmp_path / "mail-1.tar"
    build.build_image("docker.io/mail:1", "example.org/mail/postbox", tmp_path, archive, tmp_path)

    assert [file.name for file in tmp_path.iterdir()] == ["mail-1.tar"]
    with tarfile.open(archive) as tar:

        def read(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(read("manifest.json"))
        config = json.loads(read(manifest["Config"]))
    assert manifest["RepoTags"] == ["docker.io/mail:1"]
    assert config["architecture"] == "amd64"
    assert config["config"]["Entrypoint"] == ["/postbox"]
