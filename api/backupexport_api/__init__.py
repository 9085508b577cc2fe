"""The REST API: it makes BackupExports and shows how they are doing.

The Kubernetes API is its only backend; `docs/architecture.md` says what each package is for.
"""
