"""The one exception whose message is meant for the person at the terminal."""


class ClusterError(Exception):
    """Something the user has to know or do; shown without a traceback."""
