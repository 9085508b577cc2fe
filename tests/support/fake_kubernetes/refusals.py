"""The API server's refusals, as Status objects."""

from typing import Any

from fake_kubernetes.kinds import Kind

Manifest = dict[str, Any]

_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class RefusedError(Exception):
    """An answer that is no success; `status` is its body."""

    def __init__(
        self, code: int, reason: str, message: str, details: Manifest | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status: Manifest = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "code": code,
            **({"reason": reason} if reason else {}),
            **({"details": details} if details is not None else {}),
        }


def not_found(kind: Kind, name: str) -> RefusedError:
    return RefusedError(
        404, "NotFound", f'{kind.qualified} "{name}" not found', _object(kind, name)
    )


def already_exists(kind: Kind, name: str) -> RefusedError:
    message = f'{kind.qualified} "{name}" already exists'
    return RefusedError(409, "AlreadyExists", message, _object(kind, name))


def conflict(kind: Kind, name: str, why: str = _MODIFIED) -> RefusedError:
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return RefusedError(409, "Conflict", message, _object(kind, name))


def invalid(
    kind: Kind, name: str, field: str, why: str, sort: str = "FieldValueInvalid"
) -> RefusedError:
    details = {
        "name": name,
        "group": kind.group,
        "kind": kind.name,
        "causes": [{"reason": sort, "message": why, "field": field}],
    }
    subject = f"{kind.name}.{kind.group}" if kind.group else kind.name
    return RefusedError(422, "Invalid", f'{subject} "{name}" is invalid: {field}: {why}', details)


def namespace_is_ending(kind: Kind, name: str, namespace: str) -> RefusedError:
    message = (
        f'{kind.qualified} "{name}" is forbidden: unable to create new content in namespace '
        f"{namespace} because it is being terminated"
    )
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    return RefusedError(403, "Forbidden", message, {**_object(kind, name), "causes": [cause]})


def expired(message: str) -> RefusedError:
    return RefusedError(410, "Expired", message)


def bad_request(message: str) -> RefusedError:
    return RefusedError(400, "BadRequest", message)


def _object(kind: Kind, name: str) -> Manifest:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}
