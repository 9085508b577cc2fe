"""What a chaos run does and when: pure functions of its seed, so that a run can be repeated."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Manner(StrEnum):
    """How something is struck."""

    DELETE = "delete"
    FORCE = "delete by force"
    SIGKILL = "SIGKILL inside"
    CRASH = "crash"
    FREEZE = "SIGSTOP until another leads"
    CANCEL = "cancel"
    SUSPEND = "suspend, and change its retention, for a time"
    REMAKE = "delete and make again"
    FILL = "fill up for a time"
    SET_BACK = "a day behind for a time"


@dataclass(frozen=True)
class Fault:
    """A kind of blow; `victim` is a component of the installation, or of the cluster."""

    victim: str
    manner: Manner
    everyone: bool = False

    def __str__(self) -> str:
        return f"{'every ' if self.everyone else ''}{self.victim}: {self.manner}"


@dataclass(frozen=True)
class Strike:
    """One fault at its second; `pick` chooses among the victims, `seconds` is how long it lasts."""

    second: float
    fault: Fault
    pick: int
    seconds: float


@dataclass(frozen=True)
class Project:
    """A project; `fails_with` are the reasons for which its exports fail without any fault.

    `bytes_a_second` is the speed of the link to its server, None for the network's own; `at_once`
    of its exports may run at once.
    """

    name: str
    rows: int
    bytes_a_second: int | None = None
    deadline_seconds: int | None = None
    retention_seconds: int | None = None
    at_once: int = 1
    fails_with: frozenset[str] = frozenset()

    @property
    def has_database(self) -> bool:
        """Whether there is something to export."""
        return self.rows > 0


@dataclass(frozen=True)
class Order:
    """One export, to be requested at its second until it is accepted."""

    second: float
    caller: int
    key: str
    fields: tuple[tuple[str, Any], ...]

    @property
    def project(self) -> str:
        """The project's id."""
        return str(dict(self.fields)["project_id"])

    @property
    def address(self) -> str | None:
        """Who wants a mail about it; nobody else has this address."""
        found = dict(self.fields).get("notify_email")
        return None if found is None else str(found)


# Faults inside of the run's own namespace.
POD_FAULTS = (
    *(
        Fault(victim, manner)
        for victim in ("operator", "api", "runner")
        for manner in (Manner.DELETE, Manner.FORCE, Manner.SIGKILL)
    ),
    Fault("operator", Manner.FORCE, everyone=True),
    Fault("api", Manner.FORCE, everyone=True),
    Fault("operator", Manner.FREEZE),
    Fault("database", Manner.FORCE),
    Fault("mail", Manner.FORCE),
)
# What people and their tools do to the objects of the namespace, and what volumes and clocks do.
OBJECT_FAULTS = (
    Fault("export", Manner.CANCEL),
    Fault("export", Manner.DELETE),
    Fault("target", Manner.SUSPEND),
    Fault("target", Manner.REMAKE),
    Fault("job", Manner.DELETE),
    Fault("volume", Manner.FILL),
    Fault("clock", Manner.SET_BACK),
)
# Faults of the whole cluster.
NODE_FAULTS = tuple(
    Fault(component, Manner.CRASH)
    for component in ("kubelet", "containerd", "kube-apiserver", "kube-controller-manager")
)
_OF_THE_MACHINE = (Manner.SIGKILL, Manner.CRASH, Manner.FREEZE, Manner.FILL, Manner.SET_BACK)
# Several of these are wanted in a run, because there are many pods, or much hangs on one.
_OFTEN = (
    Fault("runner", Manner.FORCE),
    Fault("runner", Manner.SIGKILL),
    Fault("runner", Manner.DELETE),
    Fault("database", Manner.FORCE),
    Fault("operator", Manner.FORCE),
    Fault("export", Manner.CANCEL),
    Fault("job", Manner.DELETE),
)
# How long a fault lasts: long enough that somebody runs into it.
_AWAY_SECONDS = (1.0, 8.0)
_AWAY_SECONDS_OF = {
    Fault("kube-controller-manager", Manner.CRASH): (10.0, 20.0),
    Fault("volume", Manner.FILL): (8.0, 14.0),
    Fault("clock", Manner.SET_BACK): (10.0, 20.0),
}

FORMATS = tuple(
    {"format": dump_format, **compression}
    for dump_format in ("sql", "tar")
    for compression in ({"compress": False}, {"compression": "zstd"}, {"compression": "gzip"})
)
_WANT_MAIL = 0.5
_PATHS = (None, None, "nightly", "before/migration-7")


def strikes(seed: int, seconds: float, count: int, kinds: Sequence[Fault]) -> tuple[Strike, ...]:
    """`count` faults spread over `seconds`; each kind comes at least once where there is room."""
    rng = random.Random(f"strikes {seed}")
    often = [kind for kind in _OFTEN if kind in kinds]
    faults = rng.sample(list(kinds), min(count, len(kinds)))
    while len(faults) < count:
        faults.append(rng.choice(often or list(kinds)))
    rng.shuffle(faults)
    slot = seconds / max(count, 1)
    return tuple(
        Strike(
            second=round(number * slot + rng.uniform(0, slot), 1),
            fault=fault,
            pick=rng.randrange(1 << 16),
            seconds=round(rng.uniform(*_AWAY_SECONDS_OF.get(fault, _AWAY_SECONDS)), 1),
        )
        for number, fault in enumerate(faults)
    )


def orders(
    seed: int, seconds: float, count: int, callers: int, projects: Sequence[Project]
) -> tuple[Order, ...]:
    """`count` exports over `seconds`; formats and projects come in turn, in a shuffled order."""
    rng = random.Random(f"orders {seed}")
    wanted = []
    for number in range(count):
        fields: dict[str, Any] = {
            "project_id": projects[number % len(projects)].name,
            # Another step, so that each project meets each format.
            **FORMATS[(number // len(projects) + number) % len(FORMATS)],
        }
        if rng.random() < _WANT_MAIL:
            fields["notify_email"] = f"chaos-{seed}-{number}@example.org"
        path = rng.choice(_PATHS)
        wanted.append({**fields, "storage_path": path} if path else fields)
    rng.shuffle(wanted)
    times = sorted(round(rng.uniform(0, seconds), 1) for _ in wanted)
    return tuple(
        Order(second, number % callers, f"chaos-{seed}-{number}", tuple(fields.items()))
        for number, (second, fields) in enumerate(zip(times, wanted, strict=True))
    )


def chosen_faults(setting: str, *, is_native: bool) -> tuple[Fault, ...]:
    """The kinds of fault for CHAOS_FAULTS: `all`, or `pods` for the own namespace only.

    What needs the node's processes is left out where the cluster isn't this machine's.
    """
    if setting not in ("all", "pods"):
        raise ValueError(f"CHAOS_FAULTS={setting}: known are all and pods")
    kinds = POD_FAULTS + OBJECT_FAULTS + (NODE_FAULTS if setting == "all" else ())
    if is_native:
        return kinds
    return tuple(kind for kind in kinds if kind.manner not in _OF_THE_MACHINE)
