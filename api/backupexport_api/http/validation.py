"""Strict JSON, and what is wrong with a request in our words.

JSON that two readers could understand differently is refused; pydantic's errors become FieldErrors
that repeat no value.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from backupexport_api.http.problems import FieldError

# A body within its limit can have thousands of unknown fields.
_MOST_ERRORS = 20
_FIELD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

# pydantic's error type -> our code and message, which may need one fact of ours from pydantic's
# context; types that are not here come from the rules and bring their own.
_MESSAGES = {
    "missing": ("required", "is required"),
    "extra_forbidden": ("unknown_field", "is not a known field"),
    "string_type": ("not_a_string", "must be a string"),
    "bool_type": ("not_a_boolean", "must be true or false, without quotes"),
    "int_type": ("not_an_integer", "must be a whole number"),
    "int_parsing": ("not_an_integer", "must be a whole number"),
    "int_parsing_size": ("not_an_integer", "must be a whole number"),
    "string_pattern_mismatch": ("not_allowed", "must be visible ASCII characters"),
    "string_too_short": ("not_allowed", "must not be empty"),
    "model_type": ("malformed_body", "must be a JSON object"),
    "string_unicode": ("not_unicode", "must be Unicode text"),
    "literal_error": ("not_allowed", "must be {expected}"),
    "greater_than_equal": ("too_small", "must be at least {ge}"),
    "less_than_equal": ("too_large", "must be at most {le}"),
    "string_too_long": ("too_long", "must not be longer than {max_length} characters"),
}


class MalformedJsonError(ValueError):
    """The text is no JSON, or ambiguous; the message repeats none of it."""


def strict_json(body: bytes) -> Any:
    """Parse `body` as UTF-8 JSON; raises MalformedJsonError.

    Refuses duplicate keys, NaN, endless nesting and numbers of thousands of digits.
    """
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


def field_errors(items: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Return the first errors of a ValidationError, each with its field.

    An item's `loc` starts with the field; an empty one means the whole body.
    """
    found = []
    for item in items[:_MOST_ERRORS]:
        kind = item["type"]
        code, message = _MESSAGES.get(kind, (kind, item["msg"]))
        if kind in _MESSAGES:
            message = message.format_map(item.get("ctx", {}))
        found.append(FieldError(field=_field_name(item["loc"]), message=message, code=code))
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedJsonError("has a key twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"must not hold {name.removeprefix('-')}")


def _field_name(location: Iterable[int | str]) -> str:
    # An unknown field's name is the client's text, and returned only where it looks like a name.
    name = next((str(part) for part in location), "body")
    return name if _FIELD_NAME.fullmatch(name) else "(unknown field)"
