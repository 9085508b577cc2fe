"""What is kept of the catalogs' answers, whoever gives them."""

import pytest
from backupexport_runner.postgres import statements
from backupexport_runner.postgres.catalogs import QUESTIONS, Catalogs, Found, listed, look
from backupexport_runner.postgres.libpq import ServerError
from hostile_owner import QUERIES


def test_every_statement_but_the_preflights_own_is_a_question() -> None:
    others = {statements.SIZES, statements.SESSION, statements.OBSTACLES}
    assert set(QUESTIONS.values()) | others == set(QUERIES.values())
    assert len(set(QUESTIONS.values())) == len(QUESTIONS)


def test_the_answers() -> None:
    def ask(statement: str) -> list[list[str]]:
        rows = {statements.EXTENSIONS: [["hstore", "1.8", "12"], ["lo", "1.1", "12"]]}
        return rows.get(statement, [])

    catalogs = look(ask)
    assert catalogs.problem == ""
    assert catalogs.found("extensions") == Found((("hstore", "1.8"), ("lo", "1.1")), 12)
    assert catalogs.found("extensions").names == ("hstore", "lo")
    assert catalogs.found("subscriptions") == Catalogs().found("subscriptions") == Found()


def test_one_refusal_leaves_the_other_answers() -> None:
    def ask(statement: str) -> list[list[str]]:
        if statement in {statements.USER_MAPPINGS, statements.LOCALE}:
            raise ServerError(f"ERROR:  permission\ndenied {statement is statements.LOCALE}")
        return [["a", "b", "1"]]

    catalogs = look(ask)
    assert catalogs.problem == "ERROR: permission denied False"
    assert catalogs.rows.keys() == QUESTIONS.keys() - {"user_mappings", "locale"}


@pytest.mark.parametrize(
    "row",
    [
        [], ["a", "b"], ["a", "b", "1", "c"], ["a", "b", ""], ["a", "b", "-1"], ["a", "b", "1.5"],
        ["a", "b", "9" * 20], ["a", "b", "9" * 5000],
    ],
)  # fmt: skip
def test_what_is_no_answer_is_the_last_one(row: list[str]) -> None:
    asked: list[str] = []

    def ask(statement: str) -> list[list[str]]:
        asked.append(statement)
        return [row]

    catalogs = look(ask)
    assert (catalogs.rows, len(asked)) == ({}, 1)
    assert catalogs.problem == "the server's answer is none to the question"


def test_names_are_cleaned_and_cut() -> None:
    catalogs = look(lambda _: [["one\ntwo\x1b[2J\u202e\udcff", "x" * 5000, "1"]])
    [(name, detail)] = catalogs.found("extensions").objects
    assert name == "one two [2J"
    assert detail == "x" * 139 + "…"


@pytest.mark.parametrize(
    ("names", "total", "text"),
    [
        (["a"], 1, "a"),
        (["a", "b"], 2, "a, b"),
        (["a", "b"], 7, "a, b and 5 more"),
        (["a" * 200, "b" * 99, "c"], 3, f"{'a' * 200} and 2 more"),
        (["a" * 200, "b" * 98], 2, f"{'a' * 200}, {'b' * 98}"),
        # One is always told.
        (["a" * 400, "b"], 2, f"{'a' * 400} and 1 more"),
    ],
)
def test_lists_are_short(names: list[str], total: int, text: str) -> None:
    assert listed(names, total) == text
