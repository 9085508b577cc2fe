"""What is applied to a fresh cluster: the storage class, and rights for our own two programs."""

from typing import Any

from .layout import PROVISIONER

RBAC = "rbac.authorization.k8s.io"


def _role(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }


def _binding(name: str, role: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{name}:{role}".replace("system:", "")},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": name}],
    }


def manifests() -> list[tuple[str, dict[str, Any]]]:
    """Pairs of API path and object."""
    watch = ["get", "list", "watch"]
    coredns, provisioner = "local-cluster:coredns", "local-cluster:provisioner"
    objects: list[tuple[str, dict[str, Any]]] = [
        (
            "clusterroles",
            _role(
                coredns,
                [
                    {
                        "apiGroups": [""],
                        "resources": ["services", "namespaces", "pods"],
                        "verbs": watch,
                    },
                    {
                        "apiGroups": ["discovery.k8s.io"],
                        "resources": ["endpointslices"],
                        "verbs": watch,
                    },
                ],
            ),
        ),
        (
            "clusterroles",
            _role(provisioner, [{"apiGroups": [""], "resources": ["nodes"], "verbs": watch}]),
        ),
        ("clusterrolebindings", _binding(coredns, coredns)),
        ("clusterrolebindings", _binding(provisioner, provisioner)),
        ("clusterrolebindings", _binding(provisioner, "system:persistent-volume-provisioner")),
    ]
    paths = [
        (f"/apis/{RBAC}/v1/{plural}/{item['metadata']['name']}", item) for plural, item in objects
    ]
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "local",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    paths.append(("/apis/storage.k8s.io/v1/storageclasses/local", storage_class))
    return paths
