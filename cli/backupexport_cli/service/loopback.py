"""This machine itself: what is sent to it stays on it."""

HOSTS = ("localhost", "127.0.0.1", "::1")


def without_proxies() -> dict[str, None]:
    """Return the `mounts` of an httpx client that asks this machine by no proxy.

    One would read the token, which goes there in clear, and ask its own machine.  As curl, httpx
    spares no address of the environment's proxies that NO_PROXY doesn't name.
    """
    return {f"all://{f'[{host}]' if ':' in host else host}": None for host in HOSTS}
