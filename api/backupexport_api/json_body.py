"""JSON from strangers: what two readers could understand differently is refused."""

import json
from typing import Any, NoReturn


class MalformedJsonError(ValueError):
    """The text is no JSON, or an ambiguous one; the message never repeats any of it."""


def strict_json(body: bytes) -> Any:
    """Parse `body` as UTF-8 JSON without duplicate keys, NaN or bottomless nesting."""
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise MalformedJsonError("must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(
            f"is not valid JSON (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise MalformedJsonError("is nested too deep") from None
    except MalformedJsonError:
        raise
    except ValueError:
        # An integer with more digits than Python converts.
        raise MalformedJsonError("holds a number that is too long") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedJsonError("has a key twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"must not hold {name.removeprefix('-')}")
