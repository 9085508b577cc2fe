"""One bounded read of a JWK set over HTTP."""

import time

import urllib3

from backupexport_api.signing_keys import UnusableKeysError
from backupexport_api.trust import system_context

# For connecting, and for the whole; a server that sends a byte now and then gets one wait more.
SECONDS = 3.0
MOST_BYTES = 1024 * 1024
_CHUNK = 64 * 1024

_HEADERS = {
    "Accept": "application/jwk-set+json, application/json",
    "User-Agent": "backupexport-api",
    # The next read is a minute away, and may have to go to another address.
    "Connection": "close",
}


class JwksFetch:
    """Reads one URL; a call blocks, and raises UnusableKeysError or what urllib3 raises."""

    def __init__(self, url: str) -> None:
        """`url` is http or https; certificates are checked against the system's store."""
        self._url = url
        self._http = urllib3.PoolManager(
            ssl_context=system_context(),
            retries=False,
            timeout=urllib3.Timeout(total=SECONDS),
        )

    def __call__(self) -> bytes:
        """Read the document."""
        deadline = time.monotonic() + SECONDS
        response = self._http.request(
            "GET", self._url, headers=_HEADERS, redirect=False, preload_content=False
        )
        try:
            if response.status != 200:
                raise UnusableKeysError(f"is not served: status {response.status}")
            body = bytearray()
            while chunk := response.read1(_CHUNK, decode_content=False):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise UnusableKeysError(f"is larger than {MOST_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise UnusableKeysError(f"takes longer than {SECONDS:g} s")
            return bytes(body)
        finally:
            response.close()
