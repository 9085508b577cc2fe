"""What is asked of a connection whose client has just gone."""

import asyncio

from backupexport_api.http.transport import hold_little, untaken_bytes


async def test_a_connection_that_has_ended_is_no_error() -> None:
    made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.set_result(transport)

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        transport = await made
        transport.abort()
        async with asyncio.timeout(60):
            while transport.get_extra_info("socket").fileno() >= 0:
                await asyncio.sleep(0)
        assert untaken_bytes(transport) == 0
        hold_little(transport)
        writer.transport.abort()
