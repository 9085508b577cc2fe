"""Starting, repairing and removing the native cluster."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import components, configuration, mounts, network, processes
from .api import Api, services_ready
from .decide import Observed
from .errors import ClusterError
from .inputs import content_hash
from .layout import NODE_ADDRESS, NODE_NAME, SERVICE_ADDRESS, State
from .manifests import manifests
from .progress import last_lines, quiet, say, wait_until
from .record import Record, load, save

READY_SECONDS = 90.0
KUBELET_DIRECTORY = Path("/var/lib/kubelet")
CONTAINER_LOGS = Path("/var/log/containers")


def inputs(state: State, sources: str) -> str:
    """Change with whatever makes another cluster of it: its programs and what they are told.

    Not with the text of these modules: most of their changes are no reason to throw away a
    cluster that somebody works on.
    """
    told = [
        components.command_lines(state, Path("local-cluster-node")),
        configuration.plain_files(state, ""),
        network.RULES,
        manifests(),
    ]
    return content_hash(Path("/"), [], sources, json.dumps(told))


def observe(state: State) -> Observed:
    """Look at what is there, changing nothing."""
    record = load(state)
    if record is None:
        # A folder without a readable record is an unclean stop's.
        return Observed(recorded=state.root.exists(), finished_start=False)
    same_boot = record.boot == processes.boot_id()
    dead = tuple(
        name
        for name in components.ALL
        if name not in record.processes or not processes.alive(record.processes[name])
    )
    healthy = False
    if same_boot and not dead:
        api = Api(state)
        healthy = api.ready() and api.node_ready()
    return Observed(
        recorded=True,
        same_boot=same_boot,
        finished_start=record.finished,
        inputs=record.inputs,
        dead=dead,
        healthy=healthy,
    )


def create(state: State, made_from: str, node_directory: Path) -> None:
    """From nothing to a ready node. The caller has removed what was there before."""
    say("starting the cluster")
    binary = node_directory / "local-cluster-node"
    state.root.mkdir(parents=True, mode=0o711)
    for directory in (state.config / "cni", state.volumes, state.logs):
        directory.mkdir(parents=True)
    record = Record(
        boot=processes.boot_id(),
        inputs=made_from,
        node_binary=str(binary),
        had_kubelet_directory=KUBELET_DIRECTORY.exists(),
        sysctls=network.read_sysctls(),
    )
    save(state, record)
    subprocess.run(
        [
            binary,
            "certificates",
            f"--directory={state.pki}",
            f"--node={NODE_NAME}",
            f"--node-address={NODE_ADDRESS}",
            f"--service-address={SERVICE_ADDRESS}",
        ],
        check=True,
    )
    network.set_up()
    network.check_ports_free()
    _run_components(state, record)

    api = Api(state)
    for path, manifest in manifests():
        api.apply(path, manifest)
    import_image(state, node_directory / "pause.tar")
    _wait_ready(state, record, api)
    record.finished = True
    save(state, record)


def repair(state: State) -> None:
    """Start what died; what lives, and all data, stay."""
    record = load(state)
    if record is None:
        raise ClusterError("The cluster's record is gone.")
    began = time.time()
    kubelet_lives = processes.alive(record.processes["kubelet"])
    network.set_up()
    _run_components(state, record)
    # What a dead kubelet said last, that the node is ready, still stands for a while.
    _wait_ready(state, record, Api(state), 0 if kubelet_lives else began)


def kill(state: State, name: str) -> None:
    """End one component at once, as a crash would; `repair` brings it back."""
    record = load(state)
    if record is None:
        raise ClusterError("The cluster's record is gone.")
    processes.stop([record.processes[name]], 0)


def _run_components(state: State, record: Record) -> None:
    resolv_conf = Path("/etc/resolv.conf")
    files = configuration.plain_files(
        state, resolv_conf.read_text() if resolv_conf.exists() else ""
    )
    files.update(configuration.kubeconfigs(state))
    for name, content in files.items():
        file = state.config / name
        # kube-proxy ends itself when its file is written, even with the same content.
        if not file.exists() or file.read_text() != content:
            file.touch(mode=0o600)
            file.write_text(content)
    lines = components.command_lines(state, Path(record.node_binary))
    api = Api(state)
    for group in (components.FIRST, components.THEN):
        for name in group:
            known = record.processes.get(name)
            if known is None or not processes.alive(known):
                record.processes[name] = processes.start(lines[name], state.logs / f"{name}.log")
                save(state, record)
        if group is components.FIRST:
            wait_until(
                "waiting for the API server",
                lambda: _still_alive(state, record, components.FIRST) and api.ready(),
                READY_SECONDS,
                log=state.logs / "kube-apiserver.log",
            )


def _still_alive(state: State, record: Record, names: tuple[str, ...]) -> bool:
    """True, or the end of the log of what died: better than waiting for what cannot come."""
    for name in names:
        if not processes.alive(record.processes[name]):
            log = state.logs / f"{name}.log"
            tail = "\n".join(f"    {line}" for line in last_lines(log, 15))
            raise ClusterError(f"{name} has ended.\n{tail}\n  The whole log: {log}")
    return True


def _wait_ready(state: State, record: Record, api: Api, since: float = 0) -> None:
    def answers(address: str, port: int) -> bool:
        try:
            with socket.create_connection((address, port), timeout=1):
                return True
        except OSError:
            return False

    wait_until(
        "waiting for the node",
        lambda: (
            _still_alive(state, record, components.ALL)
            and api.node_ready(since)
            and api.default_account_ready()
            and services_ready()
            and answers(NODE_ADDRESS, 53)
        ),
        READY_SECONDS,
        log=state.logs / "kubelet.log",
    )


def import_image(state: State, archive: Path) -> None:
    """Give the node an image from an archive."""
    done = _ctr(state, "images", "import", "--all-platforms", str(archive))
    if done.returncode != 0:
        raise ClusterError(f"The node refused {archive}: {done.stderr.strip()}")


def images(state: State) -> set[str]:
    """References of all images the node has."""
    return set(_ctr(state, "images", "list", "-q").stdout.split())


def _ctr(state: State, *words: str) -> subprocess.CompletedProcess[str]:
    return quiet(["ctr", "--address", state.containerd_socket, "--namespace", "k8s.io", *words])


def remove(state: State) -> None:
    """Take away the cluster, whatever condition it is in. Safe to repeat."""
    record = load(state)
    same_boot = record is not None and record.boot == processes.boot_id()
    if record is not None and same_boot:
        # The kubelet first, or it starts again what is being stopped.
        first = [record.processes[name] for name in ("kubelet",) if name in record.processes]
        processes.stop(first, 2)
        processes.stop([p for p in record.processes.values() if p not in first], 3)
    for _ in range(3):
        left = list(processes.of_cluster(state))
        if not left:
            break
        processes.stop(left, 0)
    _remove_shim_sockets(state)
    mounts.release(state.root)
    if state.root.exists():
        network.tear_down()
        _remove_control_groups()
        _remove_log_links(state)
    if record is not None:
        if same_boot:
            network.write_sysctls(record.sysctls)
        if not record.had_kubelet_directory:
            shutil.rmtree(KUBELET_DIRECTORY, ignore_errors=True)
    if state.root.exists():
        # Renamed first: a removal that is cut short leaves no half of a cluster behind.
        grave = Path(tempfile.mkdtemp(prefix=f"{state.root.name}-old-", dir=state.root.parent))
        state.root.rename(grave / "state")
    for grave in state.root.parent.glob(f"{state.root.name}-old-*"):
        shutil.rmtree(grave, ignore_errors=True)


def _remove_shim_sockets(state: State) -> None:
    # containerd puts these into one folder for all containerds of a machine.
    for file in (state.root / "run").glob("io.containerd.runtime.v2.task/*/*/address"):
        Path(file.read_text().strip().removeprefix("unix://")).unlink(missing_ok=True)


def _remove_control_groups() -> None:
    # rmdir refuses a group that still has a process or a limit's holder in it.
    # Version 1 has one tree for each controller, version 2 one for all.
    root = Path("/sys/fs/cgroup")
    for top in (root / "kubepods", *root.glob("*/kubepods")):
        for directory, _, _ in os.walk(top, topdown=False):
            try:
                Path(directory).rmdir()
            except OSError:
                continue


def _remove_log_links(state: State) -> None:
    if not CONTAINER_LOGS.is_dir():
        return
    for link in CONTAINER_LOGS.iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(f"{state.root}/"):
            link.unlink()
