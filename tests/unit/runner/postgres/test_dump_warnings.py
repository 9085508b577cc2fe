"""What pg_dump says on a success: a table of its stderr."""

import pytest
from backupexport_runner.postgres.dump_warnings import dump_warnings

CIRCLE = [
    "pg_dump: warning: there are circular foreign-key constraints on this table:",
    "pg_dump: detail: orders",
    "pg_dump: hint: You might not be able to restore the dump without using --disable-triggers.",
]
CIRCLE_TOLD = (
    "pg_dump warned: there are circular foreign-key constraints on this table: orders "
    "You might not be able to restore the dump without using --disable-triggers."
)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], []),
        (["pg_dump: last built-in OID is 16383", "pg_dump: reading extensions"], []),
        (CIRCLE, [CIRCLE_TOLD]),
        (CIRCLE * 3, [CIRCLE_TOLD]),
        (
            ["pg_dump: warning: subscriptions not dumped because current user is not a superuser"],
            ["pg_dump warned: subscriptions not dumped because current user is not a superuser"],
        ),
        # Details of what is no warning belong to no warning.
        (
            ["pg_dump: warning: a", "pg_dump: reading b", "pg_dump: detail: c"],
            ["pg_dump warned: a"],
        ),
        (["pg_dump: warning: a\x1b[31m\u202eb"], ["pg_dump warned: a [31m b"]),
    ],
)
def test_warnings(lines: list[str], told: list[str]) -> None:
    found = dump_warnings(lines)
    assert [remark.message for remark in found] == told
    assert {remark.code for remark in found} <= {"pg_dump_warning"}


def test_there_are_ten_at_most_and_none_is_long() -> None:
    found = dump_warnings([f"pg_dump: warning: {number} {'x' * 1900}" for number in range(40)])
    assert len(found) == 11
    assert max(len(remark.message) for remark in found) <= 500
    assert "30 times more" in found[-1].message
