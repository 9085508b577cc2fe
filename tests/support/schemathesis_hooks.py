"""What Schemathesis loads before it runs (SCHEMATHESIS_HOOKS)."""

from typing import Any

from schemathesis.specs.openapi import stateful


# Schemathesis takes `project_id` for the key of a resource that some operation must make first.
# None does, so no chain would begin with a new export or a list, and no link be followed.
def _begins_a_chain(operation: Any, *_: Any) -> bool:
    return not operation.path_parameters


stateful.is_likely_root_transition = _begins_a_chain  # type: ignore[assignment]
