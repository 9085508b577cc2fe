"""What is wrong with a program's settings, in words for whoever set them."""

import re

from pydantic import ValidationError
from pydantic_settings import SettingsError

ENV_PREFIX = "BACKUPEXPORT_"


# What reading settings raises; both are ValueErrors.
SETTINGS_ERRORS = (ValidationError, SettingsError)


def complaints(error: ValueError) -> list[str]:
    """One line for each variable, with where in it the mistake is, never with a value in it."""
    if not isinstance(error, ValidationError):
        field = re.search(r'field "(\w+)"', str(error))
        name = field[1].upper() if field else "…"
        return [f"{ENV_PREFIX}{name}: is no JSON"]
    first: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name, *inside = map(str, item["loc"])
        place = f"{'.'.join(inside)}: " if inside else ""
        first.setdefault(
            ENV_PREFIX + name.upper(), place + item["msg"].removeprefix("Value error, ")
        )
    return [f"{variable}: {message}" for variable, message in first.items()]
