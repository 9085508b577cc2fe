"""How a delivery trusts the server that it speaks TLS with: one verdict for every kind."""

import ssl

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure


def tls_context(certificates: str | None) -> ssl.SSLContext:
    """Verifies the chain and the host's name, by these certificates or else the system's.

    Failure(DELIVERY_REFUSED) where there is no certificate among them.
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
    # Python's default since 3.13.  It refuses what `openssl req -x509` makes unless told more, and
    # what every other client trusts: authorities without a key usage, certificates without an
    # Authority Key Identifier.  Chain, name and dates are checked as ever.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _no_certificates() -> Failure:
    return Failure(
        ExitCode.DELIVERY_REFUSED,
        "caCertificates of the delivery holds no certificate in PEM: correct it.",
    )
