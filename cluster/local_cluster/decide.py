"""What `up` has to do, decided from what was observed. No I/O here."""

from dataclasses import dataclass
from enum import Enum

UNCOLLECTED_BYTES = 2 << 30


class Action(Enum):
    """What `up` does."""

    CREATE = "create"
    REUSE = "reuse"
    REPAIR = "repair"
    REPLACE = "replace"


@dataclass(frozen=True)
class Observed:
    """What is known of a cluster on this machine."""

    recorded: bool = False
    same_boot: bool = True
    finished_start: bool = True
    inputs: str = ""
    dead: tuple[str, ...] = ()
    healthy: bool = False


@dataclass(frozen=True)
class Decision:
    """An action and the reason to show for it."""

    action: Action
    why: str


def decide(observed: Observed, wanted_inputs: str) -> Decision:
    """Compare what is there with what is wanted."""
    if not observed.recorded:
        return Decision(Action.CREATE, "there is no local cluster yet")
    if not observed.same_boot:
        return Decision(Action.REPLACE, "the machine was restarted since")
    if not observed.finished_start:
        return Decision(Action.REPLACE, "an earlier start or stop did not finish")
    if observed.inputs != wanted_inputs:
        return Decision(Action.REPLACE, "the running one was made from other sources")
    if observed.dead:
        return Decision(Action.REPAIR, f"not running any more: {', '.join(observed.dead)}")
    if not observed.healthy:
        return Decision(Action.REPAIR, "all processes run, but the node is not ready")
    return Decision(Action.REUSE, "it is running")


def refuse_crash(
    observed: Observed, wanted_inputs: str, name: str, crashable: tuple[str, ...]
) -> str | None:
    """Why a component is not to be killed, or None: only what can be brought back is."""
    if name not in crashable:
        return f"{name}: what can be crashed is {', '.join(crashable)}"
    decision = decide(observed, wanted_inputs)
    # A cluster of another clone's sources would have to be replaced, not repaired.
    return None if decision.action is Action.REUSE else decision.why


class Mode(Enum):
    """The sorts of cluster there are."""

    NATIVE = "native"
    KIND = "kind"
    CURRENT = "current"


def choose_mode(configured: str, *, docker_works: bool, has_kind: bool) -> Mode | None:
    """Which sort of cluster; None where the setting is not one we know."""
    if configured:
        return next((mode for mode in Mode if mode.value == configured), None)
    return Mode.KIND if docker_works and has_kind else Mode.NATIVE


def missing_for_native(*, system: str, user_id: int) -> list[str]:
    """Name what the native cluster lacks on this machine."""
    missing = []
    if system != "Linux":
        missing.append(f"Linux (this is {system})")
    if user_id != 0:
        missing.append("root (sudo)")
    return missing


@dataclass(frozen=True)
class GoVersion:
    """The part of a Go version that says what it can build."""

    major: int
    minor: int


def parse_go_version(text: str) -> GoVersion | None:
    """From `go version go1.26.8 linux/amd64`, `go 1.24.0` or `2:1.19~1`."""
    digits = ""
    for word in text.replace(":", " ").split():
        candidate = word.removeprefix("go")
        if candidate[:2] == "1.":
            digits = candidate
            break
    if not digits:
        return None
    minor = ""
    for character in digits[2:]:
        if not character.isdigit():
            break
        minor += character
    return GoVersion(1, int(minor)) if minor else None


def go_fits(found: GoVersion | None, needed: GoVersion) -> bool:
    """Whether a Go is new enough."""
    return found is not None and (found.major, found.minor) >= (needed.major, needed.minor)


def garbage_collection(free: int, processors: int) -> dict[str, str]:
    """Go's settings for building: a compiler collects no garbage where memory lasts without.

    `free` in bytes, shared by one compiler a processor; half of it stays for others. Too small a
    limit would have a compiler collect all the time, so below that Go's own setting is left.
    """
    share = free // 2 // processors
    if share < UNCOLLECTED_BYTES:
        return {}
    return {"GOGC": "off", "GOMEMLIMIT": f"{share >> 20}MiB"}
