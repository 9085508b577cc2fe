"""Parts of pods: environment entries and volumes."""

from collections.abc import Iterable, Mapping
from typing import Any

from backupexport_contract import names, runner_protocol


def literals(values: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Environment entries; the kubelet expands $(NAME) in a value, and $$ is a dollar sign."""
    return [
        {"name": name, "value": value.replace("$", "$$")} for name, value in values.items() if value
    ]


def secret_volume(
    name: str,
    keys: Iterable[str],
    chosen: Mapping[str, str] | None = None,
    volume: str = names.SECRET_VOLUME,
) -> dict[str, Any]:
    """Returns a core/v1 Volume with these keys of the Secret, and nothing else of it.

    `keys` may be missing, and so may the Secret: the runner then says what it needs.  The kubelet
    waits for those of `chosen`, which has their names under those of their files.
    """
    optional = [{"key": key, "path": key} for key in keys]
    needed = [
        {"key": key, "path": f"{runner_protocol.CHOSEN_KEYS}/{part}"}
        for part, key in (chosen or {}).items()
    ]
    # A source without items would be the whole Secret.
    sources = [
        *([{"secret": {"name": name, "items": optional, "optional": True}}] if optional else []),
        *([{"secret": {"name": name, "items": needed}}] if needed else []),
    ]
    return {"name": volume, "projected": {"defaultMode": 0o440, "sources": sources}}
