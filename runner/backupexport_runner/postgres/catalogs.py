"""Looks at the server's catalogs for what a dump leaves out and what a restore needs.

It asks; `left_out` and `restore_needs` make sentences of the answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from backupexport_runner.postgres import libpq, statements
from backupexport_runner.task.failure import one_line

# Twice a name's length as it is spelled in SQL, with what doesn't fit cut.
_LONGEST_CELL = 140
_LONGEST_PROBLEM = 200
_COLUMNS = 3
_LONGEST_TOTAL = 19
# Of all the names in one list, so that the whole of the remarks is read.
_LONGEST_LIST = 300

# What is asked, by the names under which the answers are found.
QUESTIONS = {
    "relations": statements.RELATIONS,
    "subscriptions": statements.SUBSCRIPTIONS,
    "database_settings": statements.DATABASE_SETTINGS,
    "database_grants": statements.DATABASE_GRANTS,
    "database_comment": statements.DATABASE_COMMENT,
    "database_security_labels": statements.DATABASE_SECURITY_LABELS,
    "extension_tables": statements.EXTENSION_TABLES,
    "foreign_tables": statements.FOREIGN_TABLES,
    "unlogged_tables": statements.UNLOGGED_TABLES,
    "user_mappings": statements.USER_MAPPINGS,
    "large_objects": statements.LARGE_OBJECTS,
    "parents": statements.PARENTS,
    "publications": statements.PUBLICATIONS,
    "foreign_servers": statements.FOREIGN_SERVERS,
    "event_triggers": statements.EVENT_TRIGGERS,
    "extensions": statements.EXTENSIONS,
    "tablespaces": statements.TABLESPACES,
    "owners": statements.OWNERS,
    "grantees": statements.GRANTEES,
    "roles_in_policies": statements.ROLES_IN_POLICIES,
    "roles_of_user_mappings": statements.ROLES_OF_USER_MAPPINGS,
    "materialized_views": statements.MATERIALIZED_VIEWS,
    "row_functions": statements.ROW_FUNCTIONS,
    "locale": statements.LOCALE,
    "locks": statements.LOCKS,
}


@dataclass(frozen=True, slots=True)
class Found:
    """Objects of one kind: names and what else was asked of the first, and how many there are."""

    objects: tuple[tuple[str, str], ...] = ()
    total: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the first of them."""
        return tuple(name for name, _ in self.objects)

    def listed(self, spelled: Callable[[str, str], str] = lambda name, _: name) -> str:
        """Returns the first of them, each as `spelled`, and how many more there are."""
        return listed([spelled(*each) for each in self.objects], self.total)


@dataclass(frozen=True, slots=True)
class Catalogs:
    """The rows of each of QUESTIONS that was answered, and why others were not.

    Plain lists of text, for they come from another process.
    """

    rows: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    problem: str = ""

    def has_none(self, question: str) -> bool:
        """Returns whether a question was answered, and there is nothing of what it asks for."""
        return question in self.rows and not self.rows[question]

    def found(self, question: str) -> Found:
        """Returns the objects that a question has found; none where it was not answered."""
        rows = self.rows.get(question, ())
        return Found(
            tuple((name, detail) for name, detail, _ in rows), int(rows[0][2]) if rows else 0
        )


def listed(names: Sequence[str], total: int) -> str:
    """Returns the names that fit, behind commas, and how many more of the `total` there are."""
    shown = list(names)
    while len(shown) > 1 and len(", ".join(shown)) > _LONGEST_LIST:
        shown.pop()
    more = f" and {total - len(shown)} more" if total > len(shown) else ""
    return ", ".join(shown) + more


def look(ask: Callable[[str], list[list[str]]]) -> Catalogs:
    """Returns the answers; `ask` returns a statement's rows, or raises libpq.ServerError.

    Never raises for what the server does: a dump may well succeed where a look does not.
    """
    rows: dict[str, list[list[str]]] = {}
    problem = ""
    for question, statement in QUESTIONS.items():
        try:
            rows[question] = [_checked(row) for row in ask(statement)]
        except libpq.ServerError as error:
            problem = problem or one_line(str(error), _LONGEST_PROBLEM)
        except ValueError as error:
            # No PostgreSQL answers so, and the next answer is no better.
            return Catalogs(rows, str(error))
    return Catalogs(rows, problem)


def _checked(row: list[str]) -> list[str]:
    """Raises ValueError where it isn't two texts and a number that a server may have counted."""
    if len(row) != _COLUMNS or not row[-1].isdecimal() or len(row[-1]) > _LONGEST_TOTAL:
        raise ValueError("the server's answer is none to the question")
    return [one_line(cell, _LONGEST_CELL) for cell in row]
