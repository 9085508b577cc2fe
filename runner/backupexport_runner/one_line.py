"""Foreign words made fit to stand inside a sentence."""

import unicodedata

# Controls, what turns a line around or hides in it, halves of characters, ends of lines.
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def one_line(text: str, longest: int) -> str:
    """`text` without what breaks a line or turns it around, of at most `longest` characters."""
    visible = "".join(
        " " if unicodedata.category(character) in _HARMFUL else character for character in text
    )
    flat = " ".join(visible.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
