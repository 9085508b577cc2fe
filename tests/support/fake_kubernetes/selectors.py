"""Label and field selectors, as far as ours use them."""

from collections.abc import Callable
from typing import Any

from fake_kubernetes.kinds import Kind
from fake_kubernetes.refusals import Manifest, bad_request

Match = Callable[[Manifest], bool]


def matcher(kind: Kind, labels: str, fields: str) -> Match:
    """Whether an object fits both selectors; a RefusedError where one can't be understood."""
    requirements = [_requirement(text) for text in _parts(labels)]
    chosen = [_requirement(text) for text in _parts(fields)]
    for field, _, _ in chosen:
        if not kind.selectable(field):
            raise bad_request(f"field label not supported: {field}")

    def fits(manifest: Manifest) -> bool:
        known = manifest["metadata"].get("labels") or {}
        return all(
            # A label that isn't there equals nothing; a field that isn't there is empty.
            (known.get(label) == value if value is not None else label in known) is wanted
            for label, wanted, value in requirements
        ) and all((_field(manifest, field) == value) is wanted for field, wanted, value in chosen)

    return fits


def _parts(selector: str) -> list[str]:
    return [part.strip() for part in selector.split(",") if part.strip()]


def _requirement(text: str) -> tuple[str, bool, str | None]:
    """Name, whether it is to be so, and the value; None where any will do."""
    if "(" in text or " " in text:
        raise bad_request(f"unable to parse requirement: {text} (sets are not supported here)")
    for operator, wanted in (("!=", False), ("==", True), ("=", True)):
        name, found, value = text.partition(operator)
        if found:
            return name.strip(), wanted, value.strip()
    return text.removeprefix("!"), not text.startswith("!"), None


def _field(manifest: Manifest, path: str) -> str:
    value: Any = manifest
    for part in path.split("."):
        value = (value or {}).get(part)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
