"""Which links are taken back, as annotations say it, and the changes that say so."""

import re

import pytest
from backupexport_api.jobs.link_state import MOST_TAKEN_BACK, LinkState

ONE, ANOTHER = "0123456789abcdef", "fedcba9876543210"
SINGLE = "backupexport.dev/link-taken-back."
GENERATION = "backupexport.dev/links-generation"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set
QUALIFIED_NAME = re.compile(r"backupexport\.dev/[A-Za-z0-9][-A-Za-z0-9_.]{0,61}[A-Za-z0-9]")


def merged(before: dict[str, str], change: dict[str, str | None]) -> dict[str, str]:
    """A merge patch, as Kubernetes does it."""
    return {name: text for name, text in {**before, **change}.items() if text is not None}


def test_nothing_is_said() -> None:
    assert LinkState.of({}) == LinkState("", frozenset())
    assert LinkState.of({"backupexport.dev/created-at": "x"}) == LinkState()


@pytest.mark.parametrize(
    "name", [SINGLE, SINGLE + ONE.upper(), SINGLE + ONE + "0", SINGLE + "x" * 16, "other/" + ONE]
)
def test_what_is_no_id_is_no_link(name: str) -> None:
    assert LinkState.of({name: ""}) == LinkState()


def test_one_after_the_other() -> None:
    annotations: dict[str, str] = {"other": "x"}
    for link in (ONE, ANOTHER, ONE):
        change = LinkState.of(annotations).without(link, "g1")
        assert all(QUALIFIED_NAME.fullmatch(name) for name in change)
        annotations = merged(annotations, change)
    assert LinkState.of(annotations) == LinkState("", frozenset({ONE, ANOTHER}))
    annotations = merged(annotations, LinkState.of(annotations).without(None, "g1"))
    assert annotations == {"other": "x", GENERATION: "g1"}


def test_more_than_the_most_take_back_all() -> None:
    annotations: dict[str, str] = {}
    for number in range(MOST_TAKEN_BACK):
        annotations = merged(annotations, LinkState.of(annotations).without(f"{number:016x}", "g"))
    assert len(annotations) == MOST_TAKEN_BACK
    annotations = merged(annotations, LinkState.of(annotations).without(ONE, "g"))
    assert annotations == {GENERATION: "g"}
