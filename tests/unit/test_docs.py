"""The reference is what the code says."""

import generate_reference


def test_the_reference_is_fresh() -> None:
    assert generate_reference.FILE.read_text(encoding="utf-8") == generate_reference.text(), (
        "run `make docs`"
    )


def test_a_default_is_written_as_in_the_environment() -> None:
    (line,) = [
        x for x in generate_reference.text().splitlines() if "`BACKUPEXPORT_DELIVERIES`" in x
    ]
    assert line.split(" | ")[1] == "`{}`"


def test_a_default_that_is_made_anew_each_time_is_not_shown() -> None:
    lines = [x for x in generate_reference.text().splitlines() if "`BACKUPEXPORT_LOG_FORMAT`" in x]
    assert lines[0].split(" | ")[1] == ""
