"""Text of servers and databases, made harmless for a terminal."""

_MOST_LINES = 200


def clean(text: object, most: int = 2000) -> str:
    """Return the text as one line of at most `most` characters that a terminal only shows."""
    # What is cut off is never looked at: the text may be of any length.
    raw = str(text)
    shown = "".join(_harmless(character) for character in raw[: most + 1])
    return shown if len(raw) <= most else shown[: most - 1] + "…"


def clean_lines(text: str, most: int = 2000) -> str:
    """Return the text with its line breaks, each line as `clean` returns it."""
    lines = text.split("\n")[:_MOST_LINES]
    return "\n".join(clean(line, most) for line in lines)


def _harmless(character: str) -> str:
    # Not printable: controls, what is invisible or turns the reading direction, line separators,
    # halves of characters, what has no meaning yet.
    if character.isprintable():
        return character
    return " " if character.isspace() else "�"
