"""The reference is what the code says."""

import generate_reference


def test_the_reference_is_fresh() -> None:
    assert generate_reference.FILE.read_text(encoding="utf-8") == generate_reference.text(), (
        "run `make docs`"
    )
