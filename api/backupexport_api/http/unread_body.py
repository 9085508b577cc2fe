"""A request's body on its way to the app: it must come in time, or its connection ends."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from backupexport_api.http.problems import problem
from backupexport_api.http.transport import body_message, linger, transport_of

# What is read, and for how long, to keep a connection: a client may send its body a moment after
# the head, when the answer is there already.
_KEEP_BYTES, _KEEP_SECONDS = 16 * 1024, 0.05
# And before a connection is closed: closed while its client sends, it would lose the answer, too
# (RFC 9112, 9.6).
_LINGER_BYTES, _LINGER_SECONDS = 1024 * 1024, 2.0

_CLOSE = (b"connection", b"close")

_late_body = problem(
    408, "request_timeout", "Send the request's body without pauses.", Connection="close"
)


class RequestBody:
    """Of a request with one: `receive` and `send` as its app should have them."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, seconds: float) -> None:
        """`seconds` is how long the body may take."""
        self._scope = scope
        self._receive = receive
        self._send = send
        self._due = asyncio.get_running_loop().time() + seconds
        # Asking for the body would give a client the leave that it waits for (RFC 9110, 10.1.1).
        self._keeps = all(name != b"expect" for name, _ in scope["headers"])
        self._lingers = transport_of(scope) is not None
        self._is_whole = False
        self._is_answered = False

    async def receive(self) -> Message:
        """Wait for more of it; raises ProblemError (408) unless the answer has begun."""
        if not self._is_answered and not self._is_whole:
            try:
                async with asyncio.timeout_at(self._due):
                    return await self._next()
            except TimeoutError:
                if not self._is_answered:
                    raise _late_body() from None
        return await self._next()

    async def send(self, message: Message) -> None:
        """Send the answer; what comes after one that hasn't read the body ends the connection."""
        if message["type"] == "http.response.start":
            self._is_answered = True
            if _CLOSE not in message["headers"]:
                if self._keeps:
                    await self._read_on(_KEEP_BYTES, _KEEP_SECONDS)
                if not self._is_whole:
                    message = {**message, "headers": [*message["headers"], _CLOSE]}
        elif self._lingers and not (self._is_whole or message.get("more_body")):
            await self._send({**message, "more_body": True})
            linger(self._scope)
            await self._read_on(_LINGER_BYTES, _LINGER_SECONDS)
            message = body_message(b"", more=False)
        await self._send(message)

    async def _read_on(self, most_bytes: int, seconds: float) -> None:
        """Drop what comes, until it is whole or its client goes."""
        try:
            async with asyncio.timeout(seconds):
                while not self._is_whole and most_bytes > 0:
                    most_bytes -= len((await self._next()).get("body", b""))
        except TimeoutError:
            pass

    async def _next(self) -> Message:
        message = await self._receive()
        self._is_whole |= not message.get("more_body", False)
        return message


def has_body(headers: dict[bytes, bytes]) -> bool:
    """Return whether a request with these headers has a body (RFC 9112, 6.3)."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
