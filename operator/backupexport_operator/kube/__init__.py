"""The Kubernetes API: client, reads, writes, Events, pod logs, kopf's run, the work queue."""
