"""This machine itself: what is sent to it stays on it."""

import ipaddress
from urllib.parse import urlsplit

_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str | None) -> bool:
    """Return whether what is sent to the host stays on this machine."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def without_proxies(url: str) -> dict[str, None]:
    """Return the `mounts` of an httpx client that asks this machine by no proxy.

    One would read the token, which goes there in clear, and ask its own machine.  As curl, httpx
    spares no address of the environment's proxies that NO_PROXY doesn't name.  `url` is the
    client's server, which may be any address of this machine.
    """
    host = urlsplit(url).hostname
    hosts = {*_NAMES, host} if host is not None and is_loopback(host) else {*_NAMES}
    return {f"all://{f'[{each}]' if ':' in each else each}": None for each in sorted(hosts)}
