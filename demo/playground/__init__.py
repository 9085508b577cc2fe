"""An installation of the project on a cluster, with a PostgreSQL beside it.

The demo, the cluster tests and the benchmarks build on it; it uses what a user has: kubectl,
helm, and the REST API.  Standard library only, so that `make demo` needs no virtual environment.
"""
