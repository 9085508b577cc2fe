"""The body of POST /api/backup/export: what it may say, and what is wrong with one."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from backupexport_contract.resources import ExportOptions
from pydantic import ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from backupexport_api.problems import FieldError

# A body within its limit can have thousands of unknown fields.
_MOST_ERRORS = 20
_FIELD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

# pydantic's error type -> our code and message; types that are not here come from the rules
# and bring their own.
_MESSAGES = {
    "missing": ("required", "is required"),
    "extra_forbidden": ("unknown_field", "is not a known field"),
    "string_type": ("not_a_string", "must be a string"),
    "bool_type": ("not_a_boolean", "must be true or false, without quotes"),
    "model_type": ("malformed_body", "must be a JSON object"),
    "string_unicode": ("not_unicode", "must be Unicode text"),
}


class ExportRequest(ExportOptions):
    """What to export and how."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    @field_validator("compression")
    @classmethod
    def _only_when_compressing(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("compress") is False:
            raise PydanticCustomError(
                "compression_without_compress", "is only allowed with compress: true"
            )
        return value


def field_errors(error: ValidationError) -> list[FieldError]:
    """What is wrong, field by field; never a value, never more than a screenful."""
    items = error.errors(include_url=False, include_input=False)
    return [_field_error(item) for item in items[:_MOST_ERRORS]]


def _field_error(item: Mapping[str, Any]) -> FieldError:
    field = _field_name(item["loc"])
    if item["type"] == "literal_error":
        return FieldError(
            field=field, message=f"must be {item['ctx']['expected']}", code="not_allowed"
        )
    code, message = _MESSAGES.get(item["type"], (item["type"], item["msg"]))
    return FieldError(field=field, message=message, code=code)


def _field_name(location: Iterable[int | str]) -> str:
    """The field, or `body`; an unknown field's name is the client's text, so only a tame one."""
    name = next((str(part) for part in location), "body")
    return name if _FIELD_NAME.fullmatch(name) else "(unknown field)"
