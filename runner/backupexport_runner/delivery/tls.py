"""Whom a delivery trusts that it speaks TLS with, whatever its kind."""

import ssl
from functools import partial

from backupexport_contract.reasons import ExitCode
from backupexport_runtime.tls import TOO_STRICT

from backupexport_runner.task.failure import Failure

_no_certificates = partial(
    Failure,
    ExitCode.DELIVERY_REFUSED,
    "caCertificates of the delivery holds no certificate in PEM: correct it.",
)


def tls_context(certificates: str | None) -> ssl.SSLContext:
    """Returns a context that checks chain and host name, by these certificates or the system's.

    Raises Failure(DELIVERY_REFUSED) if the text holds no certificate.
    """
    try:
        # PEM is ASCII; anything else is in the comments of a bundle.
        ascii_alone = certificates and certificates.encode("ascii", "ignore").decode()
        if certificates and not ascii_alone:
            raise _no_certificates()
        context = ssl.create_default_context(cadata=ascii_alone)
    except (ssl.SSLError, ValueError):
        raise _no_certificates() from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~TOO_STRICT
    return context
