"""What the runner writes, the operator reads back, and the other way; of other versions, too."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from backupexport_contract.runner_protocol import (
    CODE_MORE,
    TERMINATION_MESSAGE_BYTES,
    VERSION,
    Artifact,
    ExportEnd,
    Outcome,
    Progress,
    Remark,
    Selection,
    export_end_text,
    from_pieces,
    in_pieces,
    is_of_newer_version,
    outcome_text,
    progress_line,
    read_artifact,
    read_export_end,
    read_outcome,
    read_progress_line,
    read_selection,
    selection_text,
    unknown_choices,
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
        Outcome(message="No space left.", reason="StorageFull"),
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
    "remarks", [1, "text", [1], [{"code": 1, "message": "b"}], [{"message": None}], [["a", "b"]]]
)
def test_garbage_is_no_remark(remarks: object) -> None:
    assert read_artifact({**asdict(ARTIFACT), "warnings": remarks}) is None


TOLD = replace(ARTIFACT, restore_with="psql", warnings=(Remark("a", "A."),))
END = ExportEnd("Succeeded", requested_by="ann", artifact=TOLD, contents="tables a")


def of_the_next_version(value: object) -> object:
    """The same with a field more in every object, and VERSION raised."""
    if isinstance(value, list):
        return [of_the_next_version(item) for item in value]
    if not isinstance(value, dict):
        return value
    more = {name: of_the_next_version(item) for name, item in value.items()}
    return {**more, "news": {"of": ["the", "next"]}} | (
        {"version": VERSION + 1} if "version" in value else {}
    )


def newer(text: str) -> str:
    return json.dumps(of_the_next_version(json.loads(text)))


def without(text: str, *names: str) -> str:
    """The same as a version says it that hasn't these fields, which are given by their paths."""
    fields = json.loads(text)
    for name in names:
        *path, last = name.split(".")
        place = fields
        for step in path:
            place = place[int(step) if step.isdigit() else step]
        del place[last]
    return json.dumps(fields)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(TOLD, server_verified=True),
        Outcome(replace(TOLD, restore_hints=(Remark("b", "B."), Remark("c", "C.")))),
        Outcome(message="No space left.", reason="StorageFull"),
        Outcome(),
    ],
)
def test_the_next_versions_report_tells_what_this_one_knows(outcome: Outcome) -> None:
    text = outcome_text(outcome)
    assert json.loads(text)["version"] == VERSION
    assert read_outcome(newer(text)) == outcome
    assert (is_of_newer_version(text), is_of_newer_version(newer(text))) == (False, True)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # As every runner reported that said no version.
        (("version", "reason"), Outcome(TOLD, server_verified=True)),
        (("server_verified", "message"), Outcome(TOLD)),
        (("artifact.restore_with", "artifact.restore_hints"),
         Outcome(replace(TOLD, restore_with=""), server_verified=True)),
        (("artifact.warnings",), Outcome(replace(TOLD, warnings=()), server_verified=True)),
        (("artifact.uncompressed_bytes", "artifact.server_version", "artifact.dump_version"),
         Outcome(replace(TOLD, uncompressed_bytes=0, server_version="", dump_version=""),
                 server_verified=True)),
        (("artifact.warnings.0.code",),
         Outcome(replace(TOLD, warnings=(Remark(message="A."),)), server_verified=True)),
        (("artifact.warnings.0.message",),
         Outcome(replace(TOLD, warnings=(Remark("a"),)), server_verified=True)),
        # What a file is nothing without.
        (("artifact.path",), Outcome(server_verified=True)),
        (("artifact.size_bytes",), Outcome(server_verified=True)),
        (("artifact.sha256",), Outcome(server_verified=True)),
    ],
)  # fmt: skip
def test_what_another_version_does_not_report_has_a_default(
    names: tuple[str, ...], expected: Outcome
) -> None:
    text = without(outcome_text(Outcome(TOLD, server_verified=True)), *names)
    assert read_outcome(text) == expected
    assert not is_of_newer_version(text)


@pytest.mark.parametrize("version", ["2", None, 1.5, [2]])
def test_no_version_is_no_newer_one(version: object) -> None:
    assert not is_of_newer_version(json.dumps({"version": version}))


def test_progress_of_other_versions() -> None:
    progress = Progress(42, 1, 2, 7)
    line = progress_line(progress, "2026-01-29T15:30:00.000Z")
    assert json.loads(line)["version"] == VERSION
    assert read_progress_line(newer(line)) == progress
    assert read_progress_line(without(line, "version", "seconds_left")) == Progress(42, 1, 2)
    assert read_progress_line(without(line, "estimated_bytes")) == Progress(42, 1, 0, 7)
    assert read_progress_line(without(line, "dumped_bytes")) == Progress(42, 0, 2, 7)
    assert read_progress_line(without(line, "percent")) is None


@pytest.mark.parametrize(
    "end", [END, ExportEnd("Failed", reason="Internal"), replace(END, artifact=ARTIFACT)]
)
def test_a_newer_operators_end_of_an_export(end: ExportEnd) -> None:
    assert read_export_end(export_end_text(end)) == end
    assert read_export_end(newer(export_end_text(end))) == end


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("reason", "message", "contents"), replace(END, contents="")),
        (("requested_by", "has_downloads"), replace(END, requested_by=None)),
        (("artifact",), replace(END, artifact=None)),
        (("artifact.warnings.0.code",),
         replace(END, artifact=replace(TOLD, warnings=(Remark(message="A."),)))),
        (("phase",), None),
    ],
)  # fmt: skip
def test_an_older_operators_end_of_an_export(
    names: tuple[str, ...], expected: ExportEnd | None
) -> None:
    assert read_export_end(without(export_end_text(END), *names)) == expected


def test_an_older_operators_choice_leaves_the_rest_as_usual() -> None:
    text = without(selection_text(SELECTION), "owner", "exclude_table_data", "content")
    expected = replace(SELECTION, content="all", exclude_table_data=(), owner=True)
    assert (read_selection(text), unknown_choices(text)) == (expected, [])


@pytest.mark.parametrize("value", [["a"], [], None, False, ""])
def test_a_choice_that_is_not_known_is_not_ignored(value: object) -> None:
    text = json.dumps({"exclude_tables": ["a"], "exclude_columns": value, "a": 1})
    assert unknown_choices(text) == ["a", "exclude_columns"]
    assert read_selection(text) is None


@pytest.mark.parametrize("size", [-1, 2**63, 10**400, True, 1.0, "1", None])
@pytest.mark.parametrize("name", ["size_bytes", "uncompressed_bytes"])
def test_an_artifact_that_no_resource_can_hold_is_none(name: str, size: Any) -> None:
    assert read_artifact({**asdict(ARTIFACT), name: size}) is None
    assert read_artifact({**asdict(ARTIFACT), name: 2**63 - 1}) is not None


@pytest.mark.parametrize(
    "odd",
    [
        *({"percent": percent} for percent in (101, -1, True, 1.5, "1", None)),
        {"dumped_bytes": 2**63},
        {"dumped_bytes": True},
        {"estimated_bytes": -1},
        *({"seconds_left": odd} for odd in ("", False, -1, 2**63)),
    ],
)
def test_progress_that_no_resource_can_hold_is_none(odd: dict[str, Any]) -> None:
    told = {"event": "progress", **asdict(Progress(1, 2, 3, 4)), **odd}
    assert read_progress_line(json.dumps(told)) is None


def test_half_a_surrogate_pair_is_told_as_a_question_mark() -> None:
    assert read_outcome(r'{"message": "a\ud800b"}').message == "a?b"
    assert read_outcome(r'{"message": "a\ud83d\ude00b"}').message == "a\U0001f600b"
