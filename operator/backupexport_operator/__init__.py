"""The operator: makes Jobs of BackupExports, and writes into their status what becomes of those.

Further Jobs of its own clean up and deliver.  `observed`, `manifests` and each `decision` are
pure; only `kube` speaks to the Kubernetes API.
"""
