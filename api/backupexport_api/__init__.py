"""The REST API: it makes BackupExports and shows how they are doing.

The Kubernetes API is its only backend.  `routes` answers requests, `job_store` says what a
backend must offer, `kubernetes_store` offers it; whatever decides something (`export_request`,
`job_view`, `authorization`) is pure.
"""
