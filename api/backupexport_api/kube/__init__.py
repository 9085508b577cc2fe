"""The Kubernetes API: calls, what their errors mean, and watch caches."""
