"""An OpenID Connect issuer: where its endpoints are, and requests to them.

An issuer is named by a server that may be anybody's: its answers are bounded in size and in time,
its redirects are not followed (a code or a refresh token would go with them), and no endpoint is
asked in clear over a network.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.clean import clean
from backupexport_cli.service.http import traced_url
from backupexport_cli.service.loopback import is_loopback

_LARGEST_ANSWER = 1024 * 1024
_ANSWER_SECONDS = 30.0
_WAIT_SECONDS = 10.0
# Statuses and codes of an issuer that says nothing of what was asked, and may do so later.
_BUSY_STATUSES = (408, 425, 429)
_BUSY_ERRORS = ("temporarily_unavailable", "server_error")
# What says of a login how it is doing, whatever the status is (Dex has 401 for one that is waited
# for).
_OF_A_LOGIN = ("authorization_pending", "slow_down", "access_denied", "expired_token")
_ASK_ADMINISTRATOR = (
    "Ask whoever runs the server to check its issuer; until then log in with a token:"
    " `backupexport login --token -`."
)


class IssuerUnreachableError(Exception):
    """No answer came, or none that says anything; the text is a phrase that says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint has answered; `body` is empty where it was no JSON object."""

    status: int
    body: dict[str, Any]

    @property
    def error(self) -> str:
        """The error's code (RFC 6749, 5.2); empty where there is none."""
        code = self.body.get("error")
        return code if isinstance(code, str) else ""

    @property
    def is_busy(self) -> bool:
        """Whether nothing follows from it but that the same may be asked later."""
        if self.error in _OF_A_LOGIN:
            return False
        is_busy_status = self.status >= 500 or self.status in _BUSY_STATUSES
        return is_busy_status or self.error in _BUSY_ERRORS

    def told(self) -> str:
        """Return what the issuer says of the error, made harmless."""
        description = self.body.get("error_description")
        if isinstance(description, str) and description:
            return f"{clean(self.error, 60)}: {clean(description, 300)}"
        return clean(self.error, 60) or f"status {self.status}"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where an issuer is asked for what; None where it has no such endpoint."""

    token: str
    device_authorization: str | None = None
    revocation: str | None = None


class IssuerClient:
    """Sends requests to issuers; one on this machine is asked directly, whatever the proxies."""

    def __init__(self, trace: Callable[[str], None] = lambda _text: None) -> None:
        """`trace` tells of each request, never with what it carries."""
        self._trace = trace
        self._clients = ExitStack()
        self._by_way: dict[bool, httpx.Client] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._clients.close()

    def get(self, url: str) -> Answer:
        """Ask; raises IssuerUnreachableError."""
        return self._ask("GET", url, None)

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """Send a form; raises IssuerUnreachableError."""
        return self._ask("POST", url, form)

    def _ask(self, method: str, url: str, form: Mapping[str, str] | None) -> Answer:
        deadline = time.monotonic() + _ANSWER_SECONDS
        # Not packed: a small answer could become a huge one.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        client = self._client_for(url)
        with (
            _failures(),
            client.stream(method, url, data=form, headers=headers) as response,
        ):
            raw = b""
            for piece in response.iter_raw():
                raw += piece
                if len(raw) > _LARGEST_ANSWER:
                    raise IssuerUnreachableError("its answer is longer than 1 MiB")
                if time.monotonic() > deadline:
                    raise IssuerUnreachableError("its answer did not end within 30 seconds")
            self._trace(f"{method} {traced_url(response.url)}: {response.status_code}")
            return Answer(response.status_code, _object(raw))

    def _client_for(self, url: str) -> httpx.Client:
        # A proxy would read what is sent in clear, and answer for its own machine.
        parts = _split(url)
        is_direct = parts is not None and is_loopback(parts[1])
        if is_direct not in self._by_way:
            client = _client(is_direct=is_direct)
            self._by_way[is_direct] = self._clients.enter_context(client)
        return self._by_way[is_direct]


def discover(client: IssuerClient, issuer: str) -> Endpoints:
    """Return an issuer's endpoints (OpenID Connect Discovery 1.0, 4); raises CliError."""
    _check_url(issuer, "The server's issuer", issuer)
    url = f"{issuer.removesuffix('/')}/.well-known/openid-configuration"
    try:
        answer = client.get(url)
    except IssuerUnreachableError as error:
        raise CliError(
            ExitCode.UNREACHABLE,
            f"The issuer {clean(issuer, 300)} can't be asked: {error}.",
            "Try again in a moment; behind a proxy, set HTTPS_PROXY.",
        ) from None
    if answer.is_busy:
        raise CliError(
            ExitCode.UNREACHABLE,
            f"The issuer {clean(issuer, 300)} can't be asked for now ({answer.told()}).",
            "Try again in a moment.",
        )
    if answer.status != 200:
        raise _bad_issuer(
            issuer,
            f"has no OpenID Connect discovery document (it answered {answer.status})",
        )
    # 4.3: it must be exactly the same, or one issuer could speak for another.
    if answer.body.get("issuer") != issuer:
        raise _bad_issuer(issuer, "calls itself by another name in its discovery document")
    return _endpoints(issuer, answer.body)


def _endpoints(issuer: str, document: dict[str, Any]) -> Endpoints:
    found: dict[str, str | None] = {}
    for name in ("token", "device_authorization", "revocation"):
        url = document.get(f"{name}_endpoint")
        if url is not None:
            _check_url(url, f"The {name.replace('_', ' ')} endpoint", issuer)
        found[name] = url
    token = found["token"]
    if token is None:
        raise _bad_issuer(issuer, "names no token endpoint")
    return Endpoints(token, found["device_authorization"], found["revocation"])


def _client(*, is_direct: bool) -> httpx.Client:
    """Return a client; raises CliError where the environment has none."""
    try:
        # With a transport of its own a client uses no proxy of the environment.
        transport = httpx.HTTPTransport() if is_direct else None
        return httpx.Client(follow_redirects=False, timeout=_WAIT_SECONDS, transport=transport)
    except (OSError, ValueError, ImportError, httpx.InvalidURL):
        # Their words may have a proxy's password in them.
        raise CliError(
            ExitCode.USAGE,
            "The environment's certificates or proxy can't be used.",
            "Check SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, HTTP_PROXY and ALL_PROXY.",
        ) from None


def _check_url(url: Any, what: str, issuer: str) -> None:
    """Refuse a URL that no secret may go to; raises CliError."""
    parts = _split(url)
    if parts is None:
        raise CliError(ExitCode.FAILED, f"{what} is no URL.", _ASK_ADMINISTRATOR)
    scheme, host, has_more = parts
    # Of an https issuer nothing may be in clear, not even on this machine: nobody of it runs here.
    is_local = is_loopback(host) and not issuer.lower().startswith("https:")
    if scheme != "https" and not (scheme == "http" and is_local):
        raise CliError(
            ExitCode.FAILED,
            f"{what} ({clean(url, 300)}) is not https.",
            _ASK_ADMINISTRATOR,
        )
    if has_more:
        raise CliError(
            ExitCode.FAILED,
            f"{what} has a password or a fragment in its URL.",
            _ASK_ADMINISTRATOR,
        )


def _split(url: Any) -> tuple[str, str, bool] | None:
    """Return scheme, host, and whether there is what has no place; None where it is no URL."""
    # urlsplit drops tabs and line breaks in silence.
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        # What can't be a port is found out by asking for it.
        _ = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.scheme.lower(), parts.hostname, "@" in parts.netloc or bool(parts.fragment)


def shown_url(url: Any, issuer: str) -> str | None:
    """Return a URL that a person may be sent to; None where it is none, or not a page's."""
    parts = _split(url)
    if parts is None or len(url) > 2000:
        return None
    scheme, host, _ = parts
    is_local = is_loopback(host) and not issuer.lower().startswith("https:")
    is_page = scheme == "https" or (scheme == "http" and is_local)
    return str(url) if is_page and "@" not in urlsplit(url).netloc else None


def _bad_issuer(issuer: str, what: str) -> CliError:
    return CliError(ExitCode.FAILED, f"The issuer {clean(issuer, 300)} {what}.", _ASK_ADMINISTRATOR)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    # Neither text nor request of these is told: they may hold what was sent.
    except httpx.TimeoutException:
        raise IssuerUnreachableError("it did not answer in time") from None
    except httpx.TransportError as error:
        raise IssuerUnreachableError(f"the connection failed ({type(error).__name__})") from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise IssuerUnreachableError("its answer can't be read") from None
