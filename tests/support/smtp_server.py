"""A strict mail server on loopback for tests: TLS, logins, and every failure that a test scripts.

A step is "greeting", a command's name, "login" (what follows AUTH LOGIN), "content" (after the
dot) or "QUIT".  `replies[step]` is sent instead of the good answer, or is one of the actions.
"""

import base64
import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self

HANG = "hang"
CUT = "cut"
# One byte in a while, never a whole line.
DRIP = "drip"
# The mail is taken, and the connection ends at once.
TAKE_AND_CUT = "take and cut"

USERNAME = "mailer"
PASSWORD = "canary-pässword-7"


@dataclass(frozen=True)
class Taken:
    """One mail and how it came."""

    sender: str
    recipient: str
    content: bytes
    is_encrypted: bool
    username: str | None


class _EndOfConversationError(Exception):
    pass


@dataclass
class SmtpServer:
    """`tls` is none, starttls or tls; with `logins` nobody sends without one."""

    tls: str = "none"
    certificate: Path | None = None
    logins: dict[str, str] = field(default_factory=dict)
    mechanisms: str = "PLAIN LOGIN"
    replies: dict[str, str] = field(default_factory=dict)
    on_step: Callable[[str], None] = lambda _: None
    taken: list[Taken] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    hellos: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # A thread in accept holds the socket until something comes.
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass
        self._threads[0].join(timeout=60)
        self._listener.close()
        for connection in list(self._connections):
            _close(connection)
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopped.is_set():
                connection.close()
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, _EndOfConversationError):
            if self.tls == "tls":
                connection = self._encrypt(connection)
            talk = _Talk(self, connection)
            try:
                talk.run()
            finally:
                # STARTTLS has put another in its place.
                _close(talk.connection)
        _close(connection)

    def _encrypt(self, connection: socket.socket) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert self.certificate is not None
        context.load_cert_chain(self.certificate)
        encrypted = context.wrap_socket(connection, server_side=True)
        self._connections.append(encrypted)
        return encrypted


class _Talk:
    """One connection."""

    def __init__(self, server: SmtpServer, connection: socket.socket) -> None:
        self._server, self.connection = server, connection
        self._buffer = b""
        self._is_encrypted = server.tls == "tls"
        self._username: str | None = None
        self._sender = self._recipient = ""
        self._has_said_hello = False

    def run(self) -> None:
        self._answer("greeting", "220 mail.test ESMTP")
        while True:
            line = self._line()
            verb, _, rest = line.partition(" ")
            handler = getattr(self, f"_{verb.lower()}", None)
            if handler is None or not verb.isalpha():
                self._wrong(f"unknown command {line!r}")
            handler(rest)

    def _ehlo(self, name: str) -> None:
        if not re.fullmatch(r"\[[0-9.]+\]|\[IPv6:[0-9a-f:]+\]", name):
            self._wrong(f"EHLO {name}")
        self._server.hellos.append(name)
        lines = ["mail.test", "SIZE 1000000", "PIPELINING"]
        if self._server.tls == "starttls" and not self._is_encrypted:
            lines.append("STARTTLS")
        if self._server.logins and (self._is_encrypted or self._server.tls == "none"):
            lines.append(f"AUTH {self._server.mechanisms}")
        reply = "\r\n".join(f"250-{line}" for line in lines[:-1]) + f"\r\n250 {lines[-1]}"
        self._answer("EHLO", reply)
        self._has_said_hello = True

    def _starttls(self, rest: str) -> None:
        if rest or self._is_encrypted or self._server.tls != "starttls":
            self._wrong("STARTTLS out of order")
        self._answer("STARTTLS", "220 go ahead")
        if self._buffer:
            self._wrong("something in the clear after STARTTLS")
        self.connection = self._server._encrypt(self.connection)
        self._is_encrypted, self._has_said_hello = True, False

    def _auth(self, rest: str) -> None:
        if not self._is_encrypted:
            self._wrong("a login in the clear")
        mechanism, _, initial = rest.partition(" ")
        if not self._has_said_hello or mechanism not in self._server.mechanisms.split():
            self._wrong(f"AUTH {mechanism} out of order")
        if mechanism == "PLAIN":
            nobody, username, password = base64.b64decode(initial, validate=True).split(b"\0")
            if nobody:
                self._wrong("an authorization identity")
        else:
            self._answer("AUTH", "334 VXNlcm5hbWU6")
            username = base64.b64decode(self._line(), validate=True)
            self._answer("login", "334 UGFzc3dvcmQ6")
            password = base64.b64decode(self._line(), validate=True)
        if self._server.logins.get(username.decode()) != password.decode():
            self._answer("AUTH", "535 5.7.8 wrong")
            return
        self._answer("AUTH" if mechanism == "PLAIN" else "password", "235 2.7.0 welcome")
        self._username = username.decode()

    def _mail(self, rest: str) -> None:
        found = re.fullmatch(r"FROM:<([^<>\s]+)>((?: [A-Z0-9]+=\S+)*)", rest)
        if not found or not self._has_said_hello:
            self._wrong(f"MAIL {rest}")
        if self._server.logins and self._username is None:
            self._answer("MAIL", "530 5.7.0 Authentication required")
            return
        self._answer("MAIL", "250 2.1.0 ok")
        self._sender = found[1]

    def _rcpt(self, rest: str) -> None:
        found = re.fullmatch(r"TO:<([^<>\s]+)>", rest)
        if not found or not self._sender:
            self._wrong(f"RCPT {rest}")
        self._answer("RCPT", "250 2.1.5 ok")
        self._recipient = found[1]

    def _data(self, rest: str) -> None:
        if rest or not self._recipient:
            self._wrong("DATA out of order")
        self._answer("DATA", "354 go on")
        lines = []
        while (line := self._line()) != ".":
            lines.append(line.removeprefix("."))
        content = "".join(f"{line}\r\n" for line in lines).encode()
        mail = Taken(self._sender, self._recipient, content, self._is_encrypted, self._username)
        reply = self._server.replies.get("content")
        # Taken before the answer: a mail exists from here on, whatever the sender learns.
        if reply is None or reply == TAKE_AND_CUT:
            self._server.taken.append(mail)
        self._answer("content", "250 2.0.0 queued")

    def _quit(self, rest: str) -> None:
        self._answer("QUIT", "221 bye")
        raise _EndOfConversationError

    def _answer(self, step: str, good: str) -> None:
        server = self._server
        server.steps.append(step)
        server.on_step(step)
        reply = server.replies.get(step, good)
        if reply in {CUT, TAKE_AND_CUT}:
            raise _EndOfConversationError
        if reply == HANG:
            server._stopped.wait()
            raise _EndOfConversationError
        while reply == DRIP:
            self.connection.sendall(b"2")
            if server._stopped.wait(0.02):
                raise _EndOfConversationError
        self.connection.sendall(reply.encode() + b"\r\n")
        if reply != good:
            # A refusal's other steps are not for this client to come to.
            verb = self._line()
            if verb.upper() != "QUIT":
                self._wrong(f"{verb} after {reply}")
            self.connection.sendall(b"221 bye\r\n")
            raise _EndOfConversationError

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            received = self.connection.recv(65536)
            if not received:
                raise _EndOfConversationError
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        if not line.endswith(b"\r") or b"\r" in line[:-1] or len(line) > 999 or not line.isascii():
            self._wrong(f"a line that is none: {line!r}")
        return line[:-1].decode("ascii", "replace")

    def _wrong(self, what: str) -> NoReturn:
        self._server.violations.append(what)
        raise _EndOfConversationError


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
