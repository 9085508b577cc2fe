from typing import Any

import pytest
from backupexport_contract.readable import readable_duration, readable_selection, readable_size
from backupexport_contract.runner_protocol import Selection
from words import CONTENTS, DURATIONS, SIZES


@pytest.mark.parametrize(("size", "words"), SIZES.items())
def test_a_size_is_written_in_the_unit_that_fits(size: int, words: str) -> None:
    assert readable_size(size) == words


@pytest.mark.parametrize(("seconds", "words"), DURATIONS.items())
def test_a_duration_is_written_in_two_units_at_most(seconds: float, words: str) -> None:
    assert readable_duration(seconds) == words


@pytest.mark.parametrize(("chosen", "words"), CONTENTS)
def test_what_was_chosen_is_said(chosen: dict[str, Any], words: str) -> None:
    assert readable_selection(Selection(**chosen)) == words
