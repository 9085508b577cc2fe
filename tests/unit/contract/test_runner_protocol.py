"""What the runner writes, the operator reads back."""

import pytest
from backupexport_contract.runner_protocol import (
    TERMINATION_MESSAGE_BYTES,
    Artifact,
    Outcome,
    Progress,
    from_pieces,
    in_pieces,
    outcome_text,
    progress_line,
    read_outcome,
    read_progress_line,
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
    assert read_progress_line(progress_line(Progress(42, 1, 2))) == Progress(42, 1, 2)


@pytest.mark.parametrize(
    "line",
    ["", "plain", '{"event":"other"}', '{"event":"progress"}',
     '{"event":"progress","percent":"1","dumped_bytes":1,"estimated_bytes":1}',
     '{"event":"progress","percent":-1,"dumped_bytes":1,"estimated_bytes":1}'],
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
