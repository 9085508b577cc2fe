"""What Schemathesis loads before it runs (SCHEMATHESIS_HOOKS)."""

from typing import Any

import schemathesis
from age_keys import AGE, SSH
from schemathesis.specs.openapi import stateful


# Schemathesis takes `project_id` for the key of a resource that some operation must make first.
# None does, so no chain would begin with a new export or a list, and no link be followed.
def _begins_a_chain(operation: Any, *_: Any) -> bool:
    return not operation.path_parameters


stateful.is_likely_root_transition = _begins_a_chain  # type: ignore[assignment]


# No pattern tells keys from what looks like one, so none would be made up that is good.
@schemathesis.hook
def before_load_schema(_: Any, raw_schema: dict[str, Any]) -> None:
    """Have recipients chosen from good ones."""
    request = raw_schema["components"]["schemas"]["ExportRequest"]["properties"]
    (listed,) = [it for it in request["encrypt_to"]["anyOf"] if it["type"] == "array"]
    listed["items"] = {"enum": [AGE, SSH]}
