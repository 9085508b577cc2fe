"""A Bot API server for tests: it takes what the Bot API takes, and nothing else.

It needs nothing but Python, so it also runs in a pod:

    python3 bot_api_server.py --token 1:a --chat -100 [--port 8081] [--largest 50000000]

    POST /control/script    [{"fail": "429", "retry_after": 1}, {}, ...]: one for each request
    GET  /control/received  what is in the chats, in order
    POST /control/forget    empty chats, no script

A step is one of:

    {}                                          nothing fails
    {"fail": "429", "retry_after": 3}
    {"fail": "status", "status": 502, "body": "<html>"}      `body` as it is, or
    {"fail": "status", "status": 400, "description": "..."}  as JSON of the Bot API
    {"fail": "migrate", "chat_id": -100123}     the group became a supergroup
    {"fail": "redirect", "location": "http://..."}
    {"fail": "garbage", "body": "..."}          status 200, and something else than the Bot API's
    {"fail": "lost", "status": 504, "body": "<html>"}        a proxy's, and it is in the chat
    {"fail": "wrong_size"}                      says ok, and that it has one byte less
    {"fail": "slow", "seconds": 3}              answers late
    {"fail": "cut", "at": "headers" | "body" | "received" | "answer" | "half_answer"}
        the connection ends before the body, within it, after it (nothing is in the chat), after
        the document is in the chat, or within the answer that says so
"""

import argparse
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Self, cast
from urllib.parse import parse_qsl

LONGEST_CAPTION = 1024
LONGEST_MESSAGE = 4096
PIECE = 64 * 1024
LARGEST_FIELD = 64 * 1024
FIELDS = {
    "sendDocument": {
        "chat_id", "document", "caption", "parse_mode", "disable_content_type_detection",
        "disable_notification", "protect_content",
    },
    "sendMessage": {
        "chat_id", "text", "parse_mode", "link_preview_options", "disable_notification",
        "protect_content",
    },
}  # fmt: skip
BOOLEANS = {"disable_content_type_detection", "disable_notification", "protect_content"}
# https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1
BOUNDARY = re.compile(
    r'multipart/form-data; *boundary=("?)([0-9A-Za-z\'()+_,./:=?-]{1,70})\1', re.IGNORECASE
)
DISPOSITION = re.compile(r'form-data; name="([^"\r\n]+)"(?:; filename="([^"\r\n]*)")?')


class BotApiError(Exception):
    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status = status
        self.answer: dict[str, Any] = {
            "ok": False, "error_code": status, "description": description
        }  # fmt: skip
        if parameters:
            self.answer["parameters"] = parameters


class Cut(Exception):  # noqa: N818 - an end, not an error
    pass


class Body:
    """A request's body, read as its headers say it comes."""

    def __init__(self, stream: BinaryIO, headers: Any) -> None:
        self.stream = stream
        encoding = headers.get("Transfer-Encoding")
        length = headers.get("Content-Length")
        if encoding is not None and length is not None:
            raise BotApiError(400, "both Content-Length and Transfer-Encoding")
        if encoding not in (None, "chunked") or (length is not None and not length.isdecimal()):
            raise BotApiError(400, "a body of unknown length")
        self.is_chunked = encoding is not None
        self.left = 0 if length is None else int(length)
        self.is_over = not self.is_chunked and self.left == 0

    def read(self) -> bytes:
        """The next piece, empty at the end."""
        if self.is_over:
            return b""
        if self.is_chunked and self.left == 0:
            line = self.stream.readline(100)
            if re.fullmatch(rb"[0-9a-fA-F]+\r\n", line) is None:
                raise Cut
            self.left = int(line, 16)
            if self.left == 0:
                self.is_over = True
                if self.stream.readline(10) != b"\r\n":
                    raise Cut
                return b""
        piece = self.stream.read1(min(PIECE, self.left))  # type: ignore[attr-defined]
        if not piece:
            raise Cut
        self.left -= len(piece)
        if self.left == 0 and self.is_chunked and self.stream.read(2) != b"\r\n":
            raise Cut
        self.is_over = not self.is_chunked and self.left == 0
        return bytes(piece)


class Multipart:
    """The grammar of RFC 2046 and RFC 7578, without anything that is only tolerated."""

    def __init__(self, body: Body, boundary: str) -> None:
        self.body = body
        self.delimiter = b"\r\n--" + boundary.encode()
        # The first delimiter has no line before it.
        self.buffer = b"\r\n"

    def parts(self) -> Iterator[tuple[dict[str, str], Iterator[bytes]]]:
        """Headers and content of each; the content must be used up before the next."""
        if self._take(len(self.delimiter)) != self.delimiter:
            raise BotApiError(400, "the body doesn't begin with its boundary")
        while (end := self._take(2)) == b"\r\n":
            yield self._headers(), self._content()
        if end != b"--" or self._take(2) != b"\r\n" or self.buffer or self.body.read():
            raise BotApiError(400, "the body doesn't end with its boundary")

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self._line():
            name, colon, value = line.partition(": ")
            if not colon or not name or name.lower() in headers:
                raise BotApiError(400, "a malformed header in a part")
            headers[name.lower()] = value
        return headers

    def _line(self) -> str:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > 2000 or not self._fill():
                raise BotApiError(400, "a header without an end")
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        return line.decode()

    def _content(self) -> Iterator[bytes]:
        while (end := self.buffer.find(self.delimiter)) < 0:
            safe = len(self.buffer) - len(self.delimiter) + 1
            if safe > 0:
                piece, self.buffer = self.buffer[:safe], self.buffer[safe:]
                yield piece
            if not self._fill():
                raise BotApiError(400, "a part without an end")
        piece = self.buffer[:end]
        self.buffer = self.buffer[end + len(self.delimiter) :]
        yield piece

    def _take(self, count: int) -> bytes:
        while len(self.buffer) < count and self._fill():
            pass
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _fill(self) -> bool:
        piece = self.body.read()
        self.buffer += piece
        return bool(piece)


class BotApiServer:
    """The server and its chats; `keep` is a directory for the documents, each by its sha256."""

    def __init__(
        self,
        token: str,
        chats: tuple[str, ...],
        largest: int = 50_000_000,
        address: tuple[str, int] = ("127.0.0.1", 0),
        keep: Path | None = None,
    ) -> None:
        self.token, self.chats, self.largest, self.keep = token, set(chats), largest, keep
        self.received: list[dict[str, Any]] = []
        self.script: list[dict[str, Any]] = []
        self.requests = 0
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(address, type("Bound", (Handler,), {"bot": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def next_step(self) -> dict[str, Any]:
        with self.lock:
            self.requests += 1
            return self.script.pop(0) if self.script else {}

    def take(self, message: dict[str, Any]) -> int:
        with self.lock:
            self.received.append({"message_id": len(self.received) + 1, **message})
            return len(self.received)

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [message for message in self.received if "name" in message]

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.received if "text" in message]


class Handler(BaseHTTPRequestHandler):
    bot: BotApiServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/control/received":
            self._answer(200, self.bot.received)
        else:
            self._answer(404, BotApiError(404, "Not Found").answer)

    def do_POST(self) -> None:
        self.close_connection = True
        step: dict[str, Any] = {}
        body: Body | None = None
        with contextlib.suppress(Cut, ConnectionError, TimeoutError):
            try:
                body = Body(cast("BinaryIO", self.rfile), self.headers)
                if self.path.startswith("/control/"):
                    self._control(body)
                    return
                method = self._method()
                step = self.bot.next_step()
                self._serve(method, body, step)
            except BotApiError as error:
                self._answer(error.status, error.answer)
            # An answer that comes before the body's end isn't lost by a reset.
            while body is not None and body.read():
                pass

    def _control(self, body: Body) -> None:
        text = b"".join(iter(body.read, b""))
        if self.path == "/control/script":
            self.bot.script[:] = json.loads(text)
        elif self.path == "/control/forget":
            self.bot.script.clear()
            self.bot.received.clear()
        else:
            raise BotApiError(404, "Not Found")
        self._answer(200, {"ok": True})

    def _method(self) -> str:
        path = re.fullmatch(r"/bot([^/]+)/([A-Za-z]+)", self.path)
        if path is None or re.fullmatch(r"\d+:[A-Za-z0-9_-]+", path[1]) is None:
            raise BotApiError(404, "Not Found")
        if path[1] != self.bot.token:
            raise BotApiError(401, "Unauthorized")
        if path[2] not in FIELDS:
            raise BotApiError(404, "Not Found: method not found")
        return path[2]

    def _serve(self, method: str, body: Body, step: dict[str, Any]) -> None:
        failure, cut = step.get("fail"), step.get("at")
        if cut == "headers":
            raise Cut
        if cut == "body":
            body.read()
            raise Cut
        if failure == "status" and step.get("early"):
            raise BotApiError(step["status"], step.get("description", "early"))
        message = self._message(method, body)
        if cut == "received":
            raise Cut
        if failure == "slow":
            time.sleep(step["seconds"])
        self._fail(failure, step)
        if message["chat_id"] not in self.bot.chats:
            raise BotApiError(400, "Bad Request: chat not found")
        message_id = self.bot.take(message)
        if cut == "answer":
            raise Cut
        if failure == "lost":
            self._write(step["status"], step["body"].encode())
            raise Cut
        result: dict[str, Any] = {"message_id": message_id, "chat": {"id": message["chat_id"]}}
        if "name" in message:
            size = message["size"] - (1 if failure == "wrong_size" else 0)
            result["document"] = {"file_name": message["name"], "file_size": size}
        answer = json.dumps({"ok": True, "result": result}).encode()
        self._write(200, answer, len(answer) // 2 if cut == "half_answer" else len(answer))

    def _fail(self, failure: str | None, step: dict[str, Any]) -> None:
        if failure == "429":
            seconds = step["retry_after"]
            raise BotApiError(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
        if failure == "migrate":
            raise BotApiError(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                migrate_to_chat_id=step["chat_id"],
            )
        if failure == "status" and "body" not in step:
            raise BotApiError(step["status"], step.get("description", "scripted"))
        if failure in ("status", "garbage"):
            self._write(step.get("status", 200), step["body"].encode())
            raise Cut
        if failure == "redirect":
            self.send_response(307)
            self.send_header("Location", step["location"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            raise Cut

    def _message(self, method: str, body: Body) -> dict[str, Any]:
        fields, document = self._fields(body)
        unknown = set(fields) - FIELDS[method]
        if unknown:
            raise BotApiError(400, f"Bad Request: unknown fields {sorted(unknown)}")
        if any(fields.get(name, "true") not in ("true", "false") for name in BOOLEANS):
            raise BotApiError(400, "Bad Request: a boolean is true or false")
        if not fields.get("chat_id"):
            raise BotApiError(400, "Bad Request: chat_id is empty")
        if method == "sendDocument":
            if document is None or not document["name"]:
                raise BotApiError(400, "Bad Request: there is no document in the request")
            if document["size"] == 0:
                raise BotApiError(400, "Bad Request: file must be non-empty")
            if _units(fields.get("caption", "")) > LONGEST_CAPTION:
                raise BotApiError(400, "Bad Request: message caption is too long")
        elif not fields.get("text", "").strip():
            raise BotApiError(400, "Bad Request: message text is empty")
        elif _units(fields["text"]) > LONGEST_MESSAGE:
            raise BotApiError(400, "Bad Request: message is too long")
        return {**fields, **(document or {})}

    def _fields(self, body: Body) -> tuple[dict[str, str], dict[str, Any] | None]:
        content_type = self.headers.get("Content-Type", "")
        if content_type == "application/x-www-form-urlencoded":
            pairs = parse_qsl(_whole(body.read, 1 << 20), True, True)
            if len(dict(pairs)) != len(pairs):
                raise BotApiError(400, "Bad Request: a field twice")
            return dict(pairs), None
        boundary = BOUNDARY.fullmatch(content_type)
        if boundary is None:
            raise BotApiError(400, "Bad Request: neither a form nor multipart/form-data")
        fields: dict[str, str] = {}
        document: dict[str, Any] | None = None
        for headers, content in Multipart(body, boundary[2]).parts():
            disposition = DISPOSITION.fullmatch(headers.get("content-disposition", ""))
            if disposition is None or disposition[1] in fields:
                raise BotApiError(400, "a malformed part, or a field twice")
            if disposition[2] is None:
                pieces = iter(content)
                text = _whole(lambda pieces=pieces: next(pieces, b""), LARGEST_FIELD)
                fields[disposition[1]] = text
            elif disposition[1] != "document" or document is not None:
                raise BotApiError(400, "a file where none belongs")
            else:
                document = self._document(disposition[2], content)
        return fields, document

    def _document(self, name: str, content: Iterator[bytes]) -> dict[str, Any]:
        digest, size = hashlib.sha256(), 0
        keep = self.bot.keep
        part = keep / f"{threading.get_ident()}.part" if keep else None
        with part.open("wb") if part else contextlib.nullcontext() as file:
            for piece in content:
                digest.update(piece)
                size += len(piece)
                if size > self.bot.largest:
                    raise BotApiError(413, "Request Entity Too Large")
                if file is not None:
                    file.write(piece)
        if part and keep:
            part.rename(keep / digest.hexdigest())
        return {"name": name, "size": size, "sha256": digest.hexdigest()}

    def _answer(self, status: int, answer: Any) -> None:
        self._write(status, json.dumps(answer).encode())

    def _write(self, status: int, body: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()


def _whole(read: Any, longest: int) -> str:
    """All pieces as text."""
    content = b""
    while piece := read():
        content += piece
        if len(content) > longest:
            raise BotApiError(400, "a field is too long")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BotApiError(400, "Bad Request: strings must be encoded in UTF-8") from None


def _units(text: str) -> int:
    """Telegram counts UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--token", required=True)
    parser.add_argument("--chat", action="append", required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--largest", type=int, default=50_000_000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    bot = BotApiServer(
        options.token,
        tuple(options.chat),
        options.largest,
        (options.host, options.port),
        options.keep,
    )
    bot.http.serve_forever()


if __name__ == "__main__":
    main()
