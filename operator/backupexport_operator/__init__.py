"""The operator: BackupExport → Job, and the state of Job and Pods → BackupExport.status.

Pure: `facts`, `job_manifest`, `pod_verdict`, `decision`, `transition`, `targets`.
I/O: `cluster_writer`, `log_follower`, `reconciler`, `handlers`.
"""
