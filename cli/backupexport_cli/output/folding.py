"""Lines that end between words, as a terminal doesn't do it; pure."""

import re
import textwrap

# What is copied from the terminal as one command: to the end of its line, or as it is quoted.
_COMMAND = re.compile(r"(?<=: )backupexport .*|`[^`]*`")
# Of the characters that no text has (Unicode's private use area).
_SPACE_OF_A_COMMAND = "\ue000"


def folded(text: str, width: int) -> str:
    """Return the text in lines of `width` columns at most.

    A command, or a word, that is longer stays whole, and so it is copied.
    """
    wrapper = textwrap.TextWrapper(
        width,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
    )
    return "\n".join(_folded_line(line, wrapper) for line in text.split("\n"))


def _folded_line(line: str, wrapper: textwrap.TextWrapper) -> str:
    held = _COMMAND.sub(lambda found: found[0].replace(" ", _SPACE_OF_A_COMMAND), line)
    lines = wrapper.wrap(held)
    return "\n".join(lines).replace(_SPACE_OF_A_COMMAND, " ")
