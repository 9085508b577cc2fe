"""Whom the api trusts that it speaks TLS with: what other programs trust.

Python 3.13 made `VERIFY_X509_STRICT` its default.  It refuses authorities without a key usage and
certificates without an Authority Key Identifier, as older clusters and companies have them.
Chain, name and dates are checked as ever.
"""

import ssl

TOO_STRICT = ssl.VERIFY_X509_STRICT


def system_context() -> ssl.SSLContext:
    """For servers whose certificates descend from the system's store."""
    context = ssl.create_default_context()
    context.verify_flags &= ~TOO_STRICT
    return context
