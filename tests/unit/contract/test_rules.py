"""The rules that REST, the CRD and the runner share."""

import re
from typing import Any

import pytest
from backupexport_contract import rules
from backupexport_contract.fields import EmailAddress, ProjectId, StoragePath
from pydantic import TypeAdapter

PROJECT_IDS = ["a", "proj-123", "--help", "-f", "_", "A" * 100, "0"]
NOT_PROJECT_IDS = [
    "", "A" * 101, "a b", "a\n", "\na", "a\x00", "a/b", "..", ".", "a.b", "ä", "а", "a;b",
    "$(id)", "`id`", "a|b", "%2e", "a\u202eb", "a\u200b", "１", "--file=x",
]  # fmt: skip

STORAGE_PATHS = ["a", "a/b", "daily/2026-01-29", ".hidden", "a.b", "-x", "a/-f", "a" * 255, "_"]
NOT_STORAGE_PATHS = {
    "": "storage_path_length",
    "a" * 256: "storage_path_length",
    "/a": "storage_path_absolute",
    "/": "storage_path_absolute",
    "..": "storage_path_parent",
    "a/../b": "storage_path_parent",
    "a..b": "storage_path_parent",
    "...": "storage_path_parent",
    ".": "storage_path_segment",
    "a/./b": "storage_path_segment",
    "./a": "storage_path_segment",
    "a//b": "storage_path_segment",
    "a/": "storage_path_segment",
    "a\\b": "storage_path_characters",
    "a\n": "storage_path_characters",
    "a\x00b": "storage_path_characters",
    "%2e%2e": "storage_path_characters",
    "a b": "storage_path_characters",
    "a\u2215b": "storage_path_characters",
}

EMAILS = [
    "ops@example.com", "a.b+c@sub.example.co", "o'hara@example.org", "x@1-2.io",
    "a" * 64 + "@x.co", "a@" + "a." * 124 + "com", "a-@x.y2", "a=b@x.co", "a.=?utf-8?q?x?=@x.co",
]  # fmt: skip
NOT_EMAILS = [
    "", "ops", "ops@", "@example.com", "ops@localhost", "ops@example.com\n", "a b@example.com",
    "ops@example.com\r\nBcc: all@example.com", "ops@example..com", "ops@-example.com",
    "ops@example.com,two@example.com", "<ops@example.com>", "ops@exämple.com",
    "a" * 65 + "@example.com", "ops@example.com\x00", "a@" + "a." * 126 + "com", ".a@x.co",
    "a..b@x.co", "a.@x.co", "-oQ/tmp@x.co", "a@127.0.0.1", "a@1.1", "a@b@x.co", "=a@x.co",
    "=?utf-8?q?x?=@x.co", "=?utf-8?q?x?=.a@x.co", "=?utf-8?b?eA==?=@x.co",
]  # fmt: skip


@pytest.mark.parametrize("value", PROJECT_IDS)
def test_project_id_is_allowed(value: str) -> None:
    assert TypeAdapter(ProjectId).validate_python(value, strict=True) == value


@pytest.mark.parametrize("value", NOT_PROJECT_IDS)
def test_project_id_is_refused(value: str) -> None:
    assert rules.first_broken(rules.PROJECT_ID, value) is rules.PROJECT_ID[0]


@pytest.mark.parametrize("value", STORAGE_PATHS)
def test_storage_path_is_allowed(value: str) -> None:
    assert TypeAdapter(StoragePath).validate_python(value, strict=True) == value


@pytest.mark.parametrize(("value", "code"), NOT_STORAGE_PATHS.items())
def test_storage_path_is_refused_with_the_rule_that_it_breaks(value: str, code: str) -> None:
    broken = rules.first_broken(rules.STORAGE_PATH, value)
    assert broken is not None
    assert broken.code == code


def test_the_message_for_an_absolute_path_says_what_to_do() -> None:
    broken = rules.first_broken(rules.STORAGE_PATH, "/a")
    assert broken is not None
    assert "drop the leading /" in broken.message


@pytest.mark.parametrize("value", EMAILS)
def test_email_is_allowed(value: str) -> None:
    assert TypeAdapter(EmailAddress).validate_python(value, strict=True) == value


@pytest.mark.parametrize("value", NOT_EMAILS)
def test_email_is_refused(value: str) -> None:
    assert rules.first_broken(rules.EMAIL, value) is not None


@pytest.mark.parametrize("kind", [ProjectId, StoragePath, EmailAddress])
def test_the_pattern_for_openapi_agrees_with_the_rules(kind: Any) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    schema = adapter.json_schema()
    pattern, longest = schema["pattern"], schema["maxLength"]
    values = [*PROJECT_IDS, *NOT_PROJECT_IDS, *STORAGE_PATHS, *NOT_STORAGE_PATHS, *EMAILS]
    for value in [*values, *NOT_EMAILS]:
        try:
            adapter.validate_python(value)
            allowed = True
        except ValueError:
            allowed = False
        shown = re.fullmatch(pattern[1:-1], value) is not None and len(value) <= longest
        assert shown == allowed, value
