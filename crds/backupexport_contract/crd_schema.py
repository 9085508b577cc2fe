"""From a pydantic model to a structural schema, as a CustomResourceDefinition wants it.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
(no $ref, no null, no additionalProperties: false; the API server prunes unknown fields itself,
and kubectl refuses them).
"""

from typing import Any

from pydantic import BaseModel

from backupexport_contract.fields import CEL_KEY


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of `model`, camelCase, with descriptions and CEL rules."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


def immutability_rules(schema: dict[str, Any], mutable: set[str]) -> list[dict[str, str]]:
    """A transition rule for each property, so that the message can name the field.

    The rules belong on the object: on an optional property a transition rule would not see
    the property being added or taken away.
    """
    return [
        {
            "rule": _unchanged(name, name in schema.get("required", ()) or "default" in prop),
            "message": f"{name} is immutable: make a new BackupExport instead",
        }
        for name, prop in schema["properties"].items()
        if name not in mutable
    ]


def _unchanged(name: str, always_there: bool) -> str:
    same = f"self.{name} == oldSelf.{name}"
    if always_there:
        return same
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"


def inlined(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """`node` with what it refers to; of an optional value, the schema of one that is there."""
    if "$ref" in node:
        referred = definitions[node["$ref"].rsplit("/", 1)[1]]
        node = referred | {key: value for key, value in node.items() if key != "$ref"}
    if "anyOf" not in node:
        return node
    (branch,) = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return inlined(branch | rest, definitions)


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "x-kubernetes-int-or-string" not in node:
        node = inlined(node, definitions)
    result = {key: value for key, value in node.items() if _keeps(key, value, node)}
    if "properties" in node:
        result["properties"] = {
            name: _structural(child, definitions) for name, child in node["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            result[key] = _structural(node[key], definitions)
    if "lastTransitionTime" in result.get("items", {}).get("properties", {}):
        result |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return result


def _keeps(key: str, value: Any, node: dict[str, Any]) -> bool:
    if key in ("$defs", "title", "const") or (key == "default" and value in (None, [], {})):
        return False
    # Beside CEL rules these would only add a second, unreadable message.
    return not (key in ("pattern", "minLength") and CEL_KEY in node)
