"""Whom the api trusts that it speaks TLS with: what other programs trust.

Python 3.13 made `VERIFY_X509_STRICT` its default.  It refuses authorities without a key usage and
certificates without an Authority Key Identifier, as older clusters and companies have them.
Chain, name and dates are checked as ever.
"""

import ssl

from urllib3.util.ssl_ import create_urllib3_context

TOO_STRICT = ssl.VERIFY_X509_STRICT


def system_context() -> ssl.SSLContext:
    """For servers whose certificates descend from the system's store."""
    context = ssl.create_default_context()
    context.verify_flags &= ~TOO_STRICT
    return context


def bare_context(*, is_verified: bool) -> ssl.SSLContext:
    """For urllib3 to put certificates in."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE)
    context.verify_flags &= ~TOO_STRICT
    return context
