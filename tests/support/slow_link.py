"""Runs in a pod: a TCP link to a server that brings its answers slowly, at no cost to the CPU.

Arguments: host, port, bytes a second for each connection.
"""

import asyncio
import socket
import sys

PORT = 5432
_CHUNK = 64 * 1024


async def pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: float | None
) -> None:
    """Pass everything on; whoever ends first ends both directions."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
        if rate is not None:
            await asyncio.sleep(len(data) / rate)


async def serve(host: str, port: int, rate: float) -> None:
    """Listen for ever."""

    async def linked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = None
        try:
            answers, upstream = await asyncio.open_connection(host, port)
            # A server whose node or network is gone says nothing any more.
            link = upstream.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3)):
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            ways = [
                asyncio.ensure_future(pump(reader, upstream, None)),
                asyncio.ensure_future(pump(answers, writer, rate)),
            ]
            _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in left:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError as error:
            sys.stderr.write(f"{host}: {error}\n")
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.close()

    server = await asyncio.start_server(linked, "0.0.0.0", PORT)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
