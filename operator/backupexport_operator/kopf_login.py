"""How kopf reaches the Kubernetes API, and which certificates it trusts."""

import ssl
from typing import Any

import kopf


class Connection(kopf.ConnectionInfo):
    """Trusts what kubectl trusts, see `kubernetes_client.connect`."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """As kopf's, without what Python 3.13 is strict about beyond chain, name and dates."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def login(**kwargs: Any) -> Connection | None:
    """The pod's service account, else the kubeconfig's user; None where there is neither."""
    found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    return Connection(**vars(found)) if found is not None else None
