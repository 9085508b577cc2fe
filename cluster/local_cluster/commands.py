"""The commands, put together from the parts."""

import os
import platform
import shutil
import signal
import time
from pathlib import Path

from . import build, components, configuration, foreign, handle, images, native, packages
from .decide import Action, Mode, choose_mode, decide, missing_for_native, refuse_crash
from .errors import ClusterError
from .layout import Handle, State, cache_directory
from .locking import turn
from .progress import quiet, say

BUILDING = Path("/run/lock/backupexport-build.lock")
RUNNING = Path("/run/lock/backupexport-cluster.lock")


def mode() -> Mode:
    """Choose the sort of cluster, or say what is missing for it."""
    docker_works = False
    configured = os.environ.get("CLUSTER", "")
    has_kind = shutil.which("kind") is not None
    if not configured and has_kind and shutil.which("docker"):
        docker_works = quiet(["docker", "info"]).returncode == 0
    chosen = choose_mode(configured, docker_works=docker_works, has_kind=has_kind)
    if chosen is None:
        raise ClusterError(f"CLUSTER={configured}: known are native, kind and current.")
    if chosen is Mode.NATIVE:
        missing = missing_for_native(system=platform.system(), user_id=os.geteuid())
        if missing:
            raise ClusterError(
                f"The native cluster needs {' and '.join(missing)}. Without that there are two "
                "other ways: a working Docker engine and kind (CLUSTER=kind; used by itself when "
                "both are there), or a cluster your kubeconfig already points to, with a registry "
                "it can pull from (CLUSTER=current REGISTRY=...)."
            )
    return chosen


def _announce(state: State, cache: Path) -> None:
    wanted = packages.missing()
    print(
        "A one-node Kubernetes on this machine, without Docker:\n"
        f"  installs   {' '.join(wanted) if wanted else 'nothing, all Debian packages are there'}\n"
        f"  builds     Kubernetes, etcd, CoreDNS and helm from Go modules into {cache}\n"
        f"  runs from  {state.root} (removed by `down`)\n"
        f"  writes     this clone's kubeconfig, kubectl and helm to {Handle().root}\n"
        "  leaves alone the machine's own containerd, CNI configuration and kubeconfig",
        flush=True,
    )


def _prepare(state: State, cache: Path) -> None:
    """Say what is going to happen, then get the packages that all of it needs."""
    if packages.missing():
        _announce(state, cache)
        packages.install(packages.missing(), cache / "logs")
    elif not build.is_built(cache):
        _announce(state, cache)


def up() -> None:
    """Start, repair or find the cluster, and give this clone the means to use it."""
    chosen = mode()
    if chosen is not Mode.NATIVE:
        foreign.up(chosen)
        return
    with turn(BUILDING, "build of the cluster's programs"):
        _prepare(State(), cache_directory())
    _start()


def _start() -> None:
    state, cache = State(), cache_directory()
    # Minutes, the first time: another clone's cluster can be used and stopped meanwhile.
    with turn(BUILDING, "build of the cluster's programs"):
        node_directory = build.build(cache, cache / "logs")
    with turn(RUNNING, "start or stop of the cluster"):
        inputs = native.inputs(state, build.sources_hash())
        decision = decide(native.observe(state), inputs)
        if decision.action is not Action.REUSE:
            say(f"{decision.action.value}: {decision.why}")
        action = decision.action
        if action is Action.REPAIR:
            try:
                native.repair(state)
            except ClusterError as error:
                say(f"it could not be repaired, making a new one. {error}")
                action = Action.REPLACE
        if action in (Action.CREATE, Action.REPLACE):
            native.remove(state)
            native.create(state, inputs, node_directory)
        kubeconfig = configuration.kubeconfig(state, "admin")
        handle.write(Handle(), Mode.NATIVE, kubeconfig, handle.native_tools(node_directory))
    say(f"the cluster is up: {Handle().bin}/kubectl get nodes")


def down(*, purge: bool) -> None:
    """Remove the cluster and what this clone had of it."""
    chosen = mode()
    if chosen is not Mode.NATIVE:
        foreign.down(chosen)
        handle.remove(Handle())
        return
    with turn(RUNNING, "start or stop of the cluster"):
        native.remove(State())
        handle.remove(Handle())
        say("the cluster is gone")
        if purge:
            with (
                turn(images.LOCK, "image build"),
                turn(BUILDING, "build of the cluster's programs"),
            ):
                images.purge(cache_directory())
            installed = [name for name in packages.names() if name not in packages.missing()]
            say(f"removed {cache_directory()}; left: Go's own caches, and of Debian's packages")
            say(f"  {' '.join(installed)}")


def status() -> None:
    """Say whether the cluster runs; exit code 3 if not."""
    chosen = mode()
    if chosen is not Mode.NATIVE:
        foreign.status(chosen)
        return
    state = State()
    decision = decide(native.observe(state), native.inputs(state, build.sources_hash()))
    meaning = {
        Action.CREATE: "not running",
        Action.REUSE: "running",
        Action.REPAIR: "half dead, `up` repairs it",
        Action.REPLACE: "there is one, but `up` would replace it",
    }
    print(f"{meaning[decision.action]}: {decision.why}")
    if decision.action is not Action.REUSE:
        raise SystemExit(3)


def crash(name: str, seconds: float) -> None:
    """Kill a component of the running cluster and bring it back after `seconds`."""
    if mode() is not Mode.NATIVE:
        raise ClusterError("Only components of the native cluster can be crashed.")
    state = State()
    # Whatever ends this command, the component comes back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Held all the while: another clone's `up` would bring it back at once.
    with turn(RUNNING, "start or stop of the cluster"):
        wanted = native.inputs(state, build.sources_hash())
        refusal = refuse_crash(native.observe(state), wanted, name, components.CRASHABLE)
        if refusal is not None:
            raise ClusterError(f"Nothing was crashed. {refusal}")
        try:
            native.kill(state, name)
            say(f"{name} is killed")
            time.sleep(seconds)
        finally:
            native.repair(state)
        say(f"{name} is back")


def make_images(*, tests: bool) -> None:
    """Build the images, with or without the tests' own, and bring them to the cluster."""
    chosen = mode()
    if chosen is not Mode.NATIVE:
        up()
        foreign.images(chosen, tests=tests)
        return
    images.available(tests=tests)
    with turn(BUILDING, "build of the cluster's programs"):
        _prepare(State(), cache_directory())
    images.native(_start, tests=tests)
