"""The REST API: it makes BackupExports and shows how they are doing.

The Kubernetes API is its only backend.  `jobs/store.py` says what a backend must offer,
`kube/store.py` offers it; `docs/architecture.md` says what each package is for and what it may
import.
"""
