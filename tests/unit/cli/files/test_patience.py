"""How long cuts are borne, and how many connections there are."""

import pytest
from backupexport_cli.files.patience import PAUSES, Patience, Ramp


def test_cuts_without_a_byte_between_them_are_borne_so_often_and_no_longer() -> None:
    patience = Patience()

    assert [patience.pause() for _ in range(len(PAUSES) + 1)] == [*PAUSES, None]
    patience.progressed()
    assert patience.pause() == PAUSES[0]


@pytest.mark.parametrize(
    ("rates", "counts"),
    [
        # Each one helps.
        ((100, 200, 300, 400), [2, 3, 4, 4]),
        # The second one brings nothing, so it goes, and no other comes.
        ((100, 101, 100, 500), [2, 1, 1, 1]),
        # The third one brings nothing.
        ((100, 200, 205, 200), [2, 3, 2, 2]),
        # Nothing comes at all.
        ((0, 0), [1, 1]),
    ],
)
def test_there_are_as_many_connections_as_help(rates: tuple[float, ...], counts: list[int]) -> None:
    ramp = Ramp(4)

    assert [ramp.measured(rate) for rate in rates] == counts


def test_a_server_that_refuses_is_asked_for_no_more() -> None:
    ramp = Ramp(4)
    ramp.measured(100)

    assert ramp.refused() == 1
    assert ramp.measured(1000) == 1
