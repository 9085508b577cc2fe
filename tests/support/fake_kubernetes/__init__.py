"""A Kubernetes API server for tests: real HTTP on loopback, objects in memory, no controllers.

It keeps what ours rely on: optimistic locking, uid and resourceVersion preconditions, finalizers,
the garbage collector, subresources, selectors, pages, watches with bookmarks and 410.  kmock has
none of these (its lists have no version, its watches begin at now), so this doesn't build on it.

It holds no schema, so what the CRDs' rules refuse is tested on a real cluster.  Jobs make no pods:
a test plays controllers, scheduler and kubelet.  The answers follow k8s.io/apiserver 1.34, and
`tests/cluster/test_fake_kubernetes.py` asks a real server for the same.
"""
