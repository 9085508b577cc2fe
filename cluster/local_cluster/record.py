"""What `up` writes down about the cluster it started."""

import json
from dataclasses import asdict, dataclass, field

from .layout import State
from .processes import Process


@dataclass
class Record:
    """The cluster as it was started."""

    boot: str
    inputs: str
    node_binary: str
    finished: bool = False
    had_kubelet_directory: bool = True
    sysctls: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)


def load(state: State) -> Record | None:
    """Return the record; None where there is none to rely on."""
    try:
        raw = json.loads(state.record.read_text())
        raw["processes"] = {name: Process(**entry) for name, entry in raw["processes"].items()}
        return Record(**raw)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(state: State, record: Record) -> None:
    """Write the record so that it is never half there."""
    draft = state.record.with_suffix(".new")
    draft.write_text(json.dumps(asdict(record), indent=2))
    draft.replace(state.record)
