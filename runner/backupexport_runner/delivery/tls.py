"""Whom a delivery trusts that it speaks TLS with, whatever its kind."""

import ssl

from backupexport_contract.reasons import ExitCode
from backupexport_runtime.tls import TOO_STRICT

from backupexport_runner.task.failure import Failure


def tls_context(certificates: str | None) -> ssl.SSLContext:
    """Returns a context that checks chain and host name, by these certificates or the system's.

    Raises Failure(DELIVERY_REFUSED) if the text holds no certificate.
    """
    try:
        # PEM is ASCII; anything else is in the comments of a bundle.
        # An empty text would mean the system's.
        pem = certificates and (certificates.encode("ascii", "ignore").decode() or "none")
        context = ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise Failure(
            ExitCode.DELIVERY_REFUSED,
            "caCertificates of the delivery holds no certificate in PEM: correct it.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~TOO_STRICT
    return context
