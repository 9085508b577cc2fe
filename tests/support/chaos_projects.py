"""The projects of chaos runs: dumps of a moment up to a quarter of a minute, and two that fail."""

from chaos_schedule import Project

_TINY = Project("tiny", 1_000)
_SMALL = Project("small", 50_000)
_DIRECT = Project("direct", 400_000)
_MEDIUM = Project("medium", 150_000, is_slow=True)
_LARGE = Project("large", 500_000, is_slow=True)
_WRONG_PASSWORD = Project("wrong-password", 0, fails_with=frozenset({"AuthenticationFailed"}))
_NO_DATABASE = Project("no-database", 0, fails_with=frozenset({"DatabaseNotFound"}))

# More than once: so many of the exports are the project's.
PROJECTS = (
    _TINY, _SMALL, _MEDIUM, _LARGE, _WRONG_PASSWORD, _MEDIUM,
    _TINY, _DIRECT, _MEDIUM, _LARGE, _NO_DATABASE, _LARGE,
)  # fmt: skip
