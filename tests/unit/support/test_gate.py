"""A gate that lets nothing through tells who has come."""

import socket

from gate import gate
from playground.tools import wait_for


def test_it_counts_who_waits_before_it() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        gate(("127.0.0.1", server.getsockname()[1])) as between,
    ):
        between.stall()
        server.settimeout(0.2)
        with socket.create_connection(("127.0.0.1", between.port)):
            wait_for(lambda: between.arrived == 1, "the caller", 60)
            try:
                server.accept()
            except TimeoutError:
                pass
            else:
                raise AssertionError("it was let through")
            server.settimeout(60)
            between.open()
            server.accept()[0].close()
