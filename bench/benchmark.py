"""What all benchmarks share: their two forms, their namespaces, and their last line.

A benchmark is a function from a form, which holds its numbers, to the figures of its last line.
The full form is for figures; the short one is the same code with small numbers, for the tests.
Standard library only, so that `make bench-dump` needs no virtual environment.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import measures
from playground.tools import NeverHappenedError, get, kubectl, make_namespace, wait_for

_PREFIX = "backupexport-bench"
# As long as Kubernetes may take for the 1,300 pods and Jobs that bench-operator leaves.
_LONGEST_REMOVAL_SECONDS = 600.0

Form = TypeVar("Form")


def run(measure: Callable[[Form], Mapping[str, float]], *, full: Form, short: Form) -> int:
    """Measure in the form that the command line asks for, and print the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="small numbers, to see that it runs")
    is_short: bool = parser.parse_args().short
    # Figures of the short form are nobody's, so it waits for nothing.
    _await_removals(0.0 if is_short else _LONGEST_REMOVAL_SECONDS)
    began = time.monotonic()
    figures = measure(short if is_short else full)
    print(f"\nit took {time.monotonic() - began:.0f} s")
    print(measures.bench_line(figures), flush=True)
    return 0


@contextmanager
def own_namespace(name: str = "") -> Iterator[str]:
    """A namespace that is left to Kubernetes to delete; the next benchmark waits for that."""
    made = "-".join(filter(None, (_PREFIX, secrets.token_hex(3), name)))
    make_namespace(made)
    try:
        yield made
    finally:
        kubectl("delete", "namespace", made, "--wait=false")


def say(text: str) -> None:
    """Tell a person who waits."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _await_removals(seconds: float) -> None:
    """Wait until what earlier benchmarks left is gone: its removal keeps the cluster busy."""
    if not (left := _being_removed()):
        return
    say(f"waiting for what an earlier benchmark left: {', '.join(left)}")
    try:
        wait_for(lambda: not _being_removed(), "the end of that", seconds, every=1.0)
    except NeverHappenedError:
        print(f"UNSTEADY: Kubernetes is still removing {', '.join(_being_removed())}")


def _being_removed() -> list[str]:
    return [
        one["metadata"]["name"]
        for one in get("namespaces")["items"]
        if one["metadata"]["name"].startswith(_PREFIX) and one["status"]["phase"] == "Terminating"
    ]
