"""Reads and writes the Lease; the API server refuses a write over one that was not seen."""

from datetime import datetime
from typing import Any

from backupexport_contract import timestamps
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.kube.client import read_or_none
from backupexport_operator.leader.decision import LeaseRecord

_LEASES = ("coordination.k8s.io", "v1")


class LeaseTakenError(Exception):
    """Somebody has changed the Lease since it was last read."""


class LeaseStore:
    """Keeps a coordination.k8s.io/v1 Lease.

    In plain JSON: the client's model omits six decimals that are zero, which the server refuses.
    """

    def __init__(self, api_client: client.ApiClient, namespace: str, name: str) -> None:
        self._api = client.CustomObjectsApi(api_client)
        self._where = (*_LEASES, namespace, "leases")
        self._name = name
        self._seen: dict[str, Any] | None = None

    async def read(self) -> LeaseRecord | None:
        """Returns what the Lease says now; None if there is none."""
        self._seen = await read_or_none(self._api, *self._where, self._name)
        return None if self._seen is None else _lease_record(self._seen)

    async def write(self, holder: str, lease: float) -> LeaseRecord:
        """Write the Lease.  Raises LeaseTakenError if it has changed since it was last read."""
        body = _body(self._seen, self._name, holder, lease, timestamps.now())
        try:
            if self._seen is None:
                written = await self._api.create_namespaced_custom_object(*self._where, body)
            else:
                where = (*self._where, self._name)
                written = await self._api.replace_namespaced_custom_object(*where, body)
        except ApiException as error:
            if error.status in (404, 409):
                raise LeaseTakenError(str(error.reason)) from error
            raise
        self._seen = written
        return _lease_record(written)


def _lease_record(body: dict[str, Any]) -> LeaseRecord:
    spec = body.get("spec") or {}
    holder = spec.get("holderIdentity") or ""
    return LeaseRecord(
        holder=holder,
        lease=float(spec.get("leaseDurationSeconds") or 0),
        # Not the resourceVersion, which changes when somebody sets a label.
        stamp=f"{holder} {spec.get('renewTime')} {spec.get('leaseTransitions')}",
    )


def _body(
    seen: dict[str, Any] | None, name: str, holder: str, lease: float, now: datetime
) -> dict[str, Any]:
    spec = dict((seen or {}).get("spec") or {})
    written = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if holder and holder != spec.get("holderIdentity"):
        spec["acquireTime"] = written
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
    spec |= {
        "holderIdentity": holder,
        "leaseDurationSeconds": max(1, round(lease)),
        "renewTime": written,
    }
    metadata = {"name": name} if seen is None else seen["metadata"]
    return {"apiVersion": "/".join(_LEASES), "kind": "Lease", "metadata": metadata, "spec": spec}
