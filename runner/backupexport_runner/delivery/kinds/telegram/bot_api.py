"""Requests to the Bot API, one at a time, and their answers.

The token is in every request's path, and so in what httpx says about it: no exception or log
record of httpx leaves this module.
"""

import logging
import ssl
import time
from collections.abc import Mapping
from typing import IO, Self, cast

import httpx
from backupexport_contract.reasons import ExitCode

from backupexport_runner.delivery.kinds.telegram import answers
from backupexport_runner.delivery.kinds.telegram.parts import PartView

_CONNECT_SECONDS = 20
# For one piece of a document.
_WRITE_SECONDS = 60
# The answer comes once Telegram has the whole document, also from a Bot API server of one's own,
# which passes it on first.
_ANSWER_SECONDS = 120
_ANSWER_BYTES_A_SECOND = 500_000
_LARGEST_ANSWER = 256 * 1024
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


class BotApi:
    """A Bot API server, as one bot."""

    def __init__(self, api_url: str, token: str, tls: ssl.SSLContext) -> None:
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._base = f"{api_url.rstrip('/')}/bot{token}/"
        self._client = httpx.Client(
            verify=tls,
            trust_env=False,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "backupexport"},
            # A server may have closed a kept connection, and a document must not be sent twice.
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send_document(
        self, chat_id: str, name: str, document: PartView, size: int, caption: str
    ) -> answers.Answer:
        """Sends a document of `size` bytes, which is read in small pieces."""
        answer = self._post(
            "sendDocument",
            {
                "chat_id": chat_id,
                "caption": caption,
                # Else Telegram may take it for a picture or a video, and rename it.
                "disable_content_type_detection": "true",
            },
            {"document": (name, cast("IO[bytes]", document), "application/octet-stream")},
            _ANSWER_SECONDS + size / _ANSWER_BYTES_A_SECOND,
        )
        if isinstance(answer, answers.InChat) and answer.size not in (None, size):
            return answers.Unclear(
                ExitCode.DELIVERY_DEFERRED,
                f"Telegram has {answer.size} bytes of a document of {size}.",
            )
        if isinstance(answer, answers.Unclear) and document.tell() < size:
            # Telegram has at most a piece of it, so no answer about the whole is lost.
            answer.is_lost = False
        return answer

    def send_message(self, chat_id: str, text: str) -> answers.Answer:
        """Sends a plain text."""
        return self._post(
            "sendMessage",
            {"chat_id": chat_id, "text": text, "link_preview_options": '{"is_disabled":true}'},
            None,
            _ANSWER_SECONDS,
        )

    def _post(
        self,
        method: str,
        fields: Mapping[str, str],
        files: Mapping[str, tuple[str, IO[bytes], str]] | None,
        answer_seconds: float,
    ) -> answers.Answer:
        timeout = httpx.Timeout(_CONNECT_SECONDS, write=_WRITE_SECONDS, read=answer_seconds)
        try:
            with self._client.stream(
                "POST", self._base + method, data=fields, files=files, timeout=timeout
            ) as response:
                body = _read(response, time.monotonic() + answer_seconds)
        except (httpx.InvalidURL, UnicodeError):
            return answers.Refused(
                ExitCode.DELIVERY_REFUSED, "apiUrl is no URL of a server: correct it."
            )
        except httpx.HTTPError as error:
            is_lost = not isinstance(error, _NOTHING_SENT)
            return answers.Unclear(ExitCode.CONNECTION_FAILED, _words(error), is_lost=is_lost)
        return answers.read_answer(response.status_code, body)


def _read(response: httpx.Response, end: float) -> bytes:
    """Returns the body, b"" if it is larger or slower than any answer of the Bot API."""
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > _LARGEST_ANSWER or time.monotonic() > end:
            return b""
    return body


def _words(error: httpx.HTTPError) -> str:
    """Returns a sentence of ours: httpx's own words hold the token."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return (
            "The Bot API server's certificate isn't trusted "
            f"({cause.verify_message}): check apiUrl and caCertificates."
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "The Bot API server can't be reached: check apiUrl and the network on the way."
    if isinstance(error, httpx.TimeoutException):
        return "The Bot API server doesn't answer in time."
    return "The connection to the Bot API server was cut."
