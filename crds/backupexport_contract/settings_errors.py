"""What is wrong with a program's settings, in words for whoever set them."""

from pydantic import ValidationError

ENV_PREFIX = "BACKUPEXPORT_"


def complaints(error: ValidationError) -> list[str]:
    """One line for each variable, with where in it the mistake is, never with a value in it."""
    first: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name, *inside = map(str, item["loc"])
        place = f"{'.'.join(inside)}: " if inside else ""
        first.setdefault(
            ENV_PREFIX + name.upper(), place + item["msg"].removeprefix("Value error, ")
        )
    return [f"{variable}: {message}" for variable, message in first.items()]
