"""As much of PromQL as it takes to know which series an expression reads."""

import re
from dataclasses import dataclass

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"(?P<metric>[a-zA-Z_:][\w:]*)\s*\{(?P<matchers>[^}]*)\}")
_MATCHER = re.compile(r'(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*"(?P<text>(?:[^"\\]|\\.)*)"')
_GROUPING = re.compile(
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\((?P<labels>[^)]*)\)"
)
_RANGE = re.compile(r"\[[^\]]*\]")
_WORD = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\w|\s*\()")
# What stands where a metric could.
_KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset", "inf"}


@dataclass(frozen=True)
class Matcher:
    """One condition on a label."""

    metric: str
    label: str
    how: str
    text: str


def metrics(expression: str) -> set[str]:
    """The names of all series that it reads."""
    bare = _TEXT.sub('""', expression)
    for noise in (re.compile(r"\{[^}]*\}"), _GROUPING, _RANGE):
        bare = noise.sub(" ", bare)
    return set(_WORD.findall(bare)) - _KEYWORDS


def matchers(expression: str) -> list[Matcher]:
    """All conditions on labels."""
    return [
        Matcher(selector["metric"], found["label"], found["how"], found["text"])
        for selector in _SELECTOR.finditer(expression)
        for found in _MATCHER.finditer(selector["matchers"])
    ]


def grouped_by(expression: str) -> set[str]:
    """Every label that it groups or joins by."""
    return {
        label.strip()
        for found in _GROUPING.finditer(expression)
        for label in found["labels"].split(",")
        if label.strip()
    }
