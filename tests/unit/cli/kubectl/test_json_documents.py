"""Documents are found however they are laid out and cut, and there is a limit to their size."""

import json
from typing import Any

import pytest
from backupexport_cli.kubectl.json_documents import JsonDocuments
from hypothesis import given, settings
from hypothesis import strategies as st

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_DOCUMENTS = st.lists(st.dictionaries(st.text(), _VALUES) | st.lists(_VALUES), max_size=4)


@settings(max_examples=60)
@given(_DOCUMENTS, st.sampled_from([None, 1, 4]), st.booleans(), st.integers(1, 9))
def test_it_reads_what_was_written(
    documents: list[Any], indent: int | None, ascii_alone: bool, size: int
) -> None:
    text = "\n".join(json.dumps(it, indent=indent, ensure_ascii=ascii_alone) for it in documents)
    raw, reader, found = text.encode("utf-8", "surrogatepass"), JsonDocuments(), []
    for start in range(0, len(raw), size):
        found += reader.feed(raw[start : start + size])
    assert found == documents or "\\ud" in json.dumps(documents)


def test_a_bracket_or_a_quote_in_a_text_is_none() -> None:
    document = {"a": 'x}"]{\\', "b": ["\\\\", "}"]}
    assert JsonDocuments().feed(json.dumps(document).encode() * 2) == [document, document]


@pytest.mark.parametrize("raw", [b"{" * 200, b'{"a": "' + b"x" * 200])
def test_there_is_a_limit(raw: bytes) -> None:
    with pytest.raises(ValueError, match="more than 100"):
        JsonDocuments(most=100).feed(raw)


def test_what_is_no_json_is_said() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        JsonDocuments().feed(b"{a}")
