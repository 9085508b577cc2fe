"""The store of jobs: the Kubernetes API and its watch cache."""
