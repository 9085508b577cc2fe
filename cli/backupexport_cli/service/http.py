"""Requests to the api: time limits, bounded answers, and what is tried again."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import httpx
from backupexport_contract.readable import readable_duration

import backupexport_cli
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.clean import clean
from backupexport_cli.service import problems
from backupexport_cli.service.loopback import without_proxies

MOST_BYTES = 64 * 1024 * 1024
"""Of an answer that is read as a whole: 200 jobs with all that a job may have are less."""

_TIMEOUT = httpx.Timeout(30, connect=10)
_LONGEST_ANSWER_SECONDS = 60.0
_MOMENT_SECONDS = 2.0
# What a busy server may ask a command to wait for, in all.
_PATIENCE_SECONDS = 120.0
# Between tries where the server is away, or does not say when to come back.
_PAUSES = (0.5, 1.0, 2.0, 4.0)
_BUSY = (429, 503)
_BROKEN_ON_THE_WAY = (502, 504)
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_ANOTHER_GIVEN_TOKEN = (
    "It is the one in BACKUPEXPORT_TOKEN, which wins over any login: set another, or unset it and"
    " log in: backupexport login"
)


class Bearer(Protocol):
    """The token that requests carry."""

    def value(self) -> str:
        """Return it; raises CliError where there is none."""

    def refresh(self) -> bool:
        """Get a new one for a token that was refused; whether `value` is now another."""


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token that the user has given, which nothing renews."""

    token: str

    def value(self) -> str:
        """Return it."""
        return self.token

    def refresh(self) -> bool:
        """Return False."""
        return False

    def __repr__(self) -> str:
        return "GivenToken(…)"


@dataclass(frozen=True, slots=True)
class Answer:
    """A success that was read whole; `body` is its JSON, None where it has no body."""

    status: int
    headers: httpx.Headers
    body: Any


class ApiHttp:
    """The way to one server."""

    def __init__(
        self,
        url: str,
        bearer: Bearer | None,
        *,
        say: Callable[[str], None] = lambda _text: None,
        trace: Callable[[str], None] = lambda _text: None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        is_hurried: bool = False,
    ) -> None:
        """`say` tells a person of waiting, `trace` of each request, never with the token.

        With `is_hurried` there is an answer in a moment, or none.
        """
        self.url = url.rstrip("/")
        self.origin = clean(urlsplit(self.url).netloc, 100)
        self._bearer = bearer
        self.say = say
        self._trace = trace
        self._sleep = sleep
        self._clock = clock
        self._is_hurried = is_hurried
        self._longest_seconds = _MOMENT_SECONDS if is_hurried else _LONGEST_ANSWER_SECONDS
        self._client = _client(self.url, transport)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def pause(self, seconds: float) -> None:
        """Wait."""
        self._sleep(seconds)

    def now(self) -> float:
        """Return the time in seconds, of a clock that only goes on."""
        return self._clock()

    def json(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        with_token: bool = True,
    ) -> Answer:
        """Return the answer to a request that may be sent twice; raises CliError."""
        pauses = [] if self._is_hurried else list(_PAUSES)
        while True:
            with self.open(
                method, path, body=body, params=params, headers=headers, with_token=with_token
            ) as response:
                try:
                    content = self._read(response)
                    break
                except httpx.TransportError as error:
                    # A proxy, or a replica that has just gone, cut it off in the middle.
                    if not pauses:
                        raise self._unreachable(error) from None
                    self._trace(f"{method} was cut off: {type(error).__name__}; trying again")
            self._sleep(pauses.pop(0))
        if not content and response.status_code in (202, 204):
            return Answer(response.status_code, response.headers, None)
        try:
            return Answer(response.status_code, response.headers, problems.parsed(content))
        except ValueError:
            raise problems.nonsense(self.origin, "the answer is no JSON") from None

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        with_token: bool = True,
        follow: bool = False,
        expected: tuple[int, ...] = (),
        timeout: httpx.Timeout = _TIMEOUT,
        is_patient: bool = True,
    ) -> Iterator[httpx.Response]:
        """Yield an answer whose body was not read yet: a success, or a status in `expected`.

        What is only away or busy is asked again, and a token that was refused is renewed once.
        `follow`: go where a redirect leads, without the token on another host.  Without
        `is_patient`, no second try.
        """
        response = self._sent(
            method,
            self.url + path,
            {
                "json": body,
                "params": params,
                "headers": dict(headers or {}),
                "timeout": httpx.Timeout(_MOMENT_SECONDS) if self._is_hurried else timeout,
            },
            with_token=with_token,
            follow=follow,
            expected=expected,
            is_patient=is_patient and not self._is_hurried,
        )
        try:
            yield response
        finally:
            response.close()

    def _sent(
        self,
        method: str,
        url: str,
        request: dict[str, Any],
        *,
        with_token: bool,
        follow: bool,
        expected: tuple[int, ...],
        is_patient: bool,
    ) -> httpx.Response:
        deadline = self._clock() + (_PATIENCE_SECONDS if is_patient else 0)
        pauses = list(_PAUSES if is_patient else ())
        was_renewed = False
        while True:
            try:
                response = self._once(method, url, request, with_token=with_token, follow=follow)
            except httpx.LocalProtocolError:
                # Its words have the header in them, which may be the token.
                raise CliError(
                    ExitCode.USAGE,
                    "The request has a character in it that can't be sent.",
                    "Check the options and the token.",
                ) from None
            except httpx.TransportError as error:
                if not pauses:
                    raise self._unreachable(error) from None
                self._trace(f"{method} failed: {type(error).__name__}; trying again")
                self._sleep(pauses.pop(0))
                continue
            status = response.status_code
            if response.is_success or status in expected:
                return response
            content = self._read_error(response)
            if status == 401 and with_token and self._bearer and not was_renewed:
                was_renewed = True
                # An issuer may take long, and a stop in the middle of it would cost the login.
                if not self._is_hurried and self._bearer.refresh():
                    continue
            pause = _pause_of(response, pauses)
            if pause is not None and self._may_wait(status, pause, deadline):
                self._sleep(pause)
                continue
            if status in _REDIRECTS:
                raise self._redirected(response)
            raise self._refused(status, content)

    def _once(
        self, method: str, url: str, request: dict[str, Any], *, with_token: bool, follow: bool
    ) -> httpx.Response:
        for _ in range(_MOST_REDIRECTS + 1):
            headers = dict(request["headers"])
            if with_token and self._bearer and _origin(url) == _origin(self.url):
                headers["Authorization"] = f"Bearer {self._bearer.value()}"
            try:
                built = self._client.build_request(method, url, **(request | {"headers": headers}))
                began = self._clock()
                response = self._client.send(built, stream=True)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, ValueError):
                raise problems.nonsense(self.origin, "its address is none") from None
            took = _readable_milliseconds(self._clock() - began)
            self._trace(f"{method} {traced_url(built.url)}: {response.status_code} in {took}")
            target = response.headers.get("Location")
            if not (follow and response.status_code in _REDIRECTS and target):
                return response
            response.close()
            led = _followed(url, target)
            if led is None:
                raise problems.nonsense(self.origin, "it redirects to no place to go to")
            url = led
        raise problems.nonsense(self.origin, "it redirects without an end")

    def _may_wait(self, status: int, pause: float, deadline: float) -> bool:
        if self._clock() + pause > deadline:
            return False
        if pause >= 1:
            why = "too many requests" if status == 429 else "the server is busy"
            self.say(f"Waiting {readable_duration(pause)}: {why}.")
        return True

    def _read(self, response: httpx.Response) -> bytes:
        """Return the whole body.

        Raises CliError where it is too long, or comes too slowly, and httpx.TransportError.
        """
        ends_at = self._clock() + self._longest_seconds
        content = bytearray()
        for piece in response.iter_raw():
            content += piece
            if len(content) > MOST_BYTES:
                raise problems.nonsense(self.origin, "its answer does not end")
            if self._clock() > ends_at:
                raise problems.nonsense(self.origin, "its answer takes too long")
        return bytes(content)

    def _read_error(self, response: httpx.Response) -> bytes:
        try:
            return self._read(response)
        except (CliError, httpx.TransportError):
            # What is wrong is told by the status.
            return b""
        finally:
            response.close()

    def _refused(self, status: int, content: bytes) -> CliError:
        error = problems.error_of(status, content, origin=self.origin)
        if status == 401 and isinstance(self._bearer, GivenToken):
            error.advice = _ANOTHER_GIVEN_TOKEN
        elif status == 401 and self._bearer is None:
            error.advice = f"Log in there: backupexport login {self.url}"
        return error

    def _redirected(self, response: httpx.Response) -> CliError:
        target = clean(urljoin(self.url, response.headers.get("Location", "")), 200)
        return CliError(
            ExitCode.UNREACHABLE,
            f"{self.origin} sends the request on to {target or 'nowhere'}.",
            "Give the server's own address with --url, or log in again with it.",
        )

    def _unreachable(self, error: httpx.TransportError) -> CliError:
        return CliError(
            ExitCode.UNREACHABLE,
            f"{self.origin} can't be reached: {_reason(error)}.",
            "Check the address and your network, then repeat the command.",
        )


def traced_url(url: httpx.URL) -> str:
    """Return an address as --verbose tells it.

    Without the query: that of a link, or of a bucket, lets anybody in.
    """
    return clean(f"{url.host}{url.path}", 200)


def _client(url: str, transport: httpx.BaseTransport | None) -> httpx.Client:
    try:
        return httpx.Client(
            follow_redirects=False,
            transport=transport,
            mounts=without_proxies(url),
            headers={
                "User-Agent": f"backupexport/{backupexport_cli.__version__}",
                "Accept-Encoding": "identity",
            },
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL):
        # Their words may have a proxy's password in them.
        raise CliError(
            ExitCode.USAGE,
            "The environment's certificates or proxy can't be used.",
            "Check SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, HTTP_PROXY and ALL_PROXY.",
        ) from None


def _pause_of(response: httpx.Response, pauses: list[float]) -> float | None:
    """Return how long to wait before the next try, None where there is none; uses up `pauses`."""
    if response.status_code not in _BUSY + _BROKEN_ON_THE_WAY:
        return None
    asked = _retry_after(response.headers.get("Retry-After"))
    if asked is not None and response.status_code in _BUSY:
        return asked
    return pauses.pop(0) if pauses else None


def _readable_milliseconds(seconds: float) -> str:
    """Return how long a request took."""
    return f"{seconds * 1000:.0f} ms"


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it does not answer in time"
    text = re.sub(r"^\[Errno -?\d+\] ", "", clean(error, 200)).rstrip(".")
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return "it does not speak TLS, as an address with https:// has to"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"its certificate is not trusted here ({text})"
    return text or "the connection was cut"


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a header asks for; a date is what no api of ours sends."""
    if value is None or not value.isascii() or not value.isdecimal() or len(value) > 9:
        return None
    return float(max(1, int(value)))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _followed(url: str, target: str) -> str | None:
    """Return where a redirect leads; None where that is no place to go to."""
    try:
        led = urljoin(url, target)
        parts = urlsplit(led)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    was_private = urlsplit(url).scheme == "https"
    return None if not is_usable or (was_private and parts.scheme != "https") else led
