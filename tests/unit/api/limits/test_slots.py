"""Places of downloads, and what links leave of them."""

import pytest
from backupexport_api.limits.slots import DownloadPlaces, Share, most_by_links


@pytest.mark.parametrize(
    ("most", "most_each", "expected"),
    [(100, 40, 60), (41, 40, 21), (40, 40, 20), (30, 40, 15), (3, 2, 2), (2, 2, 1), (1, 1, 1)],
)
def test_links_leave_a_caller_s_share_or_half(most: int, most_each: int, expected: int) -> None:
    assert most_by_links(most, most_each) == expected


def test_all_links_together_leave_places() -> None:
    places = DownloadPlaces(5, 2)
    links = [Share(project, is_link=True) for project in "abcde"]
    assert [places.take(share) for share in links] == ["taken"] * 3 + ["full"] * 2
    # A sub may be called as a project is.
    callers = [Share(sub, is_link=False) for sub in "abc"]
    assert [places.take(share) for share in callers] == ["taken"] * 2 + ["full"]
    places.release(callers[0])
    assert places.take(links[3]) == "full"
    places.release(links[0])
    assert places.take(links[3]) == "taken"
    assert places.take(callers[2]) == "taken"


def test_a_project_s_links_have_one_share() -> None:
    places = DownloadPlaces(10, 2)
    link, other = Share("a", is_link=True), Share("b", is_link=True)
    assert [places.take(link) for _ in range(3)] == ["taken", "taken", "caller_full"]
    assert places.take(other) == "taken"
