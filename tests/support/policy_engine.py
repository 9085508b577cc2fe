"""The policy engine of the local cluster: while it runs, the node enforces NetworkPolicies.

It enforces those of all namespaces, also of tests that run at the same time.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos_run import is_native
from local_cluster import packages
from local_cluster.build import build_policy_engine
from local_cluster.layout import NODE_NAME, SERVICE_RANGE, cache_directory
from local_cluster.locking import turn
from playground.tools import STATE, wait_for

_LOCK = Path("/run/lock/backupexport-policy-engine.lock")
_IPSET = Path("/usr/sbin/ipset")
_START_SECONDS = 120
_END_SECONDS = 120


def is_possible() -> bool:
    """Whether the node is this machine; there may be no other one, for the engine is for one."""
    return is_native()


@contextmanager
def enforced_policies() -> Iterator[None]:
    """Enforced when the context begins, and no more when it has ended.

    It ends with its standard input: also where this process is killed, so that nothing is left.
    """
    cache = cache_directory()
    with turn(_LOCK, "policy engine"):
        if not _IPSET.exists():
            packages.install(["ipset"], cache / "logs")
        program = build_policy_engine(cache, cache / "logs")
        log = cache / "logs" / "policy-engine.log"
        command = [str(program), str(STATE / "kubeconfig"), NODE_NAME, SERVICE_RANGE]
        with log.open("wb") as output:
            engine = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A Ctrl-C is for this process, which then ends it well.
                start_new_session=True,
            )
            try:
                wait_for(lambda: _is_enforcing(engine, log), "the policy engine", _START_SECONDS)
                yield
            finally:
                if not _has_ended_well(engine):
                    subprocess.run(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        check=True,
                        timeout=_END_SECONDS,
                    )
                    raise AssertionError(f"the policy engine has failed:\n{log.read_text()}")


def _is_enforcing(engine: subprocess.Popen[bytes], log: Path) -> bool:
    if engine.poll() is not None:
        raise AssertionError(f"the policy engine has ended:\n{log.read_text()}")
    return "enforcing" in log.read_text().splitlines()


def _has_ended_well(engine: subprocess.Popen[bytes]) -> bool:
    try:
        engine.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        engine.kill()
    return engine.wait() == 0
