"""The projects of chaos runs: dumps of a moment up to ten seconds, and some that have to fail."""

from chaos_schedule import Project

_TINY = Project("tiny", 1_000)
_DIRECT = Project("direct", 250_000)
_MEDIUM = Project("medium", 150_000, bytes_a_second=6_000_000)
_LARGE = Project("large", 300_000, bytes_a_second=4_000_000, at_once=3)
# Its files and exports go while the run lasts, and nobody else's.
_FLEETING = Project("fleeting", 2_000, retention_seconds=25)
# Its dump takes longer than it may, so each of its exports is stopped in the middle: what an
# attempt leaves behind then, no later attempt takes away.
_HASTY = Project(
    "hasty",
    300_000,
    bytes_a_second=400_000,
    deadline_seconds=12,
    fails_with=frozenset({"DeadlineExceeded"}),
)
_WRONG_PASSWORD = Project("wrong-password", 0, fails_with=frozenset({"AuthenticationFailed"}))
_NO_DATABASE = Project("no-database", 0, fails_with=frozenset({"DatabaseNotFound"}))

# More than once: so many of the exports are the project's.
PROJECTS = (
    _TINY, _MEDIUM, _HASTY, _LARGE, _FLEETING, _DIRECT, _WRONG_PASSWORD,
    _LARGE, _MEDIUM, _FLEETING, _LARGE, _TINY, _NO_DATABASE,
)  # fmt: skip
