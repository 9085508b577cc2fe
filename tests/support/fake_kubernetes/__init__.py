"""A Kubernetes API server for tests: real HTTP on loopback, objects in memory, no controllers.

It keeps what ours rely on: optimistic locking, uid and resourceVersion preconditions, finalizers,
the garbage collector, subresources, selectors, pages, watches with bookmarks and 410.  It holds
no schema, so what the CRDs' rules refuse is tested on a real cluster.  Jobs make no pods: a test
plays controllers, scheduler and kubelet.  The answers follow those of k8s.io/apiserver 1.34, and
`cluster/test_fake_kubernetes.py` asks the same of a real server.
"""
