"""Places of downloads, and what links leave of them."""

import pytest
from backupexport_api.limits.slots import SlotOwner, Slots, most_by_links


@pytest.mark.parametrize(
    ("most", "most_each", "expected"),
    [(100, 40, 60), (41, 40, 21), (40, 40, 20), (30, 40, 15), (3, 2, 2), (2, 2, 1), (1, 1, 1)],
)
def test_links_leave_a_caller_s_share_or_half(most: int, most_each: int, expected: int) -> None:
    assert most_by_links(most, most_each) == expected


def test_all_links_together_leave_places() -> None:
    slots = Slots(5, 2)
    links = [SlotOwner(project, is_link=True) for project in "abcde"]
    assert [slots.take(owner) for owner in links] == ["taken"] * 3 + ["full"] * 2
    # A sub may be called as a project is.
    callers = [SlotOwner(sub, is_link=False) for sub in "abc"]
    assert [slots.take(owner) for owner in callers] == ["taken"] * 2 + ["full"]
    slots.release(callers[0])
    assert slots.take(links[3]) == "full"
    slots.release(links[0])
    assert slots.take(links[3]) == "taken"
    assert slots.take(callers[2]) == "taken"


def test_a_project_s_links_have_one_share() -> None:
    slots = Slots(10, 2)
    link, other = SlotOwner("a", is_link=True), SlotOwner("b", is_link=True)
    assert [slots.take(link) for _ in range(3)] == ["taken", "taken", "owner_full"]
    assert slots.take(other) == "taken"
