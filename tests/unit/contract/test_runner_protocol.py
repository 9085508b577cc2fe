"""What the runner writes, the operator reads back."""

from dataclasses import asdict, replace

import pytest
from backupexport_contract.runner_protocol import (
    CODE_MORE,
    TERMINATION_MESSAGE_BYTES,
    Artifact,
    Outcome,
    Progress,
    Remark,
    Selection,
    from_pieces,
    in_pieces,
    outcome_text,
    progress_line,
    read_artifact,
    read_outcome,
    read_progress_line,
    read_selection,
    selection_text,
)

# https://man7.org/linux/man-pages/man2/execve.2.html: MAX_ARG_STRLEN.
LONGEST_VARIABLE = 131072
ARTIFACT = Artifact("p/f", 1, 2, "ab", "17.5", "17.6")


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(ARTIFACT),
        Outcome(ARTIFACT, server_verified=False),
        Outcome(message="No space left."),
        Outcome(),
    ],
)
def test_an_outcome_survives_the_termination_message(outcome: Outcome) -> None:
    assert read_outcome(outcome_text(outcome)) == outcome


@pytest.mark.parametrize("letter", ["x", "ä", "\\", "\U0001f600", '"'])
def test_a_long_message_is_cut_and_stays_readable(letter: str) -> None:
    text = outcome_text(Outcome(message=letter * 9000))
    assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
    said = read_outcome(text).message
    assert said
    assert set(said) == {letter}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"artifact": {"path": 1}}', "garbage"])
def test_garbage_is_an_empty_outcome(text: str) -> None:
    assert read_outcome(text) == Outcome()


def test_progress_survives_a_log_line() -> None:
    for progress in (Progress(42, 1, 2), Progress(42, 1, 2, 7)):
        assert read_progress_line(progress_line(progress)) == progress


@pytest.mark.parametrize(
    "line",
    ["", "plain", '{"event":"other"}', '{"event":"progress"}',
     '{"event":"progress","percent":"1","dumped_bytes":1,"estimated_bytes":1}',
     '{"event":"progress","percent":-1,"dumped_bytes":1,"estimated_bytes":1}',
     '{"event":"progress","percent":1,"dumped_bytes":1,"estimated_bytes":1,"seconds_left":"x"}',
     '{"event":"progress","percent":1,"dumped_bytes":1,"estimated_bytes":1,"seconds_left":-1}'],
)  # fmt: skip
def test_other_lines_tell_no_progress(line: str) -> None:
    assert read_progress_line(line) is None


@pytest.mark.parametrize("length", [0, 1, 29_999, 30_000, 30_001, 262_144])
@pytest.mark.parametrize("letter", ["x", "\U0001f600", "$"])
def test_a_text_of_any_length_reaches_the_runner_in_its_environment(
    length: int, letter: str
) -> None:
    text = letter * length
    pieces = in_pieces("NAME", text)
    assert from_pieces("NAME", {"OTHER": "y", **pieces}) == text
    assert all(len(f"{name}={p}".encode()) < LONGEST_VARIABLE for name, p in pieces.items())


SELECTION = Selection("schema", ("a",), ("b", "c d"), (), ("é\U0001f600",), ("'\"",), False, False)


@pytest.mark.parametrize("selection", [Selection(), SELECTION])
def test_a_selection_survives_the_environment(selection: Selection) -> None:
    assert read_selection(selection_text(selection)) == selection


@pytest.mark.parametrize(
    "text",
    [
        "[]", "null", "{", '{"content": 1}', '{"content": null}', '{"owner": 1}', '{"more": 1}',
        '{"include_schemas": "a"}', '{"include_schemas": [1]}', '{"include_schemas": {"a": 1}}',
        '{"exclude_tables": [["a"]]}', '{"privileges": "true"}',
    ],
)  # fmt: skip
def test_garbage_is_no_selection(text: str) -> None:
    assert read_selection(text) is None


def test_remarks_survive_the_termination_message() -> None:
    artifact = replace(
        ARTIFACT,
        restore_with="psql",
        warnings=(Remark("a", "A."), Remark("b", "Ä.")),
        restore_hints=(Remark("c", "\U0001f600."),),
    )
    assert read_outcome(outcome_text(Outcome(artifact))) == Outcome(artifact)


@pytest.mark.parametrize("letter", ["x", "ä", "\U0001f600", '"'])
def test_remarks_that_do_not_fit_are_in_the_manifest_alone(letter: str) -> None:
    warnings = tuple(Remark(f"w{number}", letter * 100) for number in range(100))
    hints = tuple(Remark(f"h{number}", letter * 100) for number in range(100))
    artifact = replace(ARTIFACT, warnings=warnings, restore_hints=hints)
    text = outcome_text(Outcome(artifact))
    assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
    told = read_outcome(text).artifact
    assert told is not None
    assert replace(told, warnings=(), restore_hints=()) == ARTIFACT
    *kept, last = told.warnings
    assert kept
    assert tuple(kept) == warnings[: len(kept)]
    assert last.code == CODE_MORE


@pytest.mark.parametrize(
    "remarks", [1, "text", [1], [{"code": "a"}], [{"code": 1, "message": "b"}], [["a", "b"]]]
)
def test_garbage_is_no_remark(remarks: object) -> None:
    assert read_artifact({**asdict(ARTIFACT), "warnings": remarks}) is None
