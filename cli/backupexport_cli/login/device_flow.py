"""The OAuth 2.0 Device Authorization Grant (RFC 8628): a login in a browser, maybe another's."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login.issuer import Answer, IssuerClient, IssuerUnreachableError, shown_url
from backupexport_cli.output.clean import clean

GRANT = "urn:ietf:params:oauth:grant-type:device_code"

# Without offline_access most issuers give no refresh token.
_SCOPES = ("openid", "offline_access")
_AGAIN = "Start again with `backupexport login`."
_USUAL_INTERVAL = 5
_SLOW_DOWN = 5
# Nobody is kept at a terminal for longer, and no issuer has a reason to ask less often.
_LONGEST_LIFE = 3600
_LONGEST_INTERVAL = 120
_LONGEST_PAUSE_AFTER_A_CUT = 60.0
_LONGEST_USER_CODE = 100


@dataclass(frozen=True, slots=True)
class Client:
    """Which client of which issuer logs in, and what it asks for."""

    issuer: str
    client_id: str
    scopes: tuple[str, ...] = _SCOPES
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a person needs to log in; `device_code` is a secret of this process."""

    device_code: str
    user_code: str
    page: str
    page_with_code: str | None
    seconds: int
    interval: int

    def __repr__(self) -> str:
        return f"Authorization(page={self.page!r})"


@dataclass(frozen=True, slots=True)
class Clock:
    """How time passes; tests have one of their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def client_of(configuration: Mapping[str, Any]) -> Client | None:
    """Return the client that a server's GET /api/client-configuration names; None where none."""
    login = configuration.get("login")
    if not isinstance(login, Mapping):
        return None
    issuer, client_id = login.get("issuer"), login.get("client_id")
    if not isinstance(issuer, str) or not isinstance(client_id, str):
        return None
    scopes, audience = login.get("scopes"), login.get("audience")
    wanted = scopes if isinstance(scopes, list) else _SCOPES
    return Client(
        issuer,
        client_id,
        tuple(scope for scope in wanted if isinstance(scope, str)),
        audience if isinstance(audience, str) else None,
    )


def begin(http: IssuerClient, endpoint: str, client: Client) -> Authorization:
    """Ask for a code (3.1); raises CliError."""
    form = {"client_id": client.client_id}
    if client.scopes:
        form["scope"] = " ".join(client.scopes)
    if client.audience:
        # No parameter of the RFC; issuers of tokens for several APIs ask for it.
        form["audience"] = client.audience
    try:
        answer = http.post(endpoint, form)
    except IssuerUnreachableError as error:
        raise CliError(
            ExitCode.UNREACHABLE,
            f"The issuer can't be asked for a code: {error}.",
            "Try again in a moment.",
        ) from None
    if answer.is_busy:
        raise CliError(
            ExitCode.UNREACHABLE,
            f"The issuer gives no code for now ({answer.told()}).",
            "Try again in a moment.",
        )
    if answer.status != 200:
        raise CliError(
            ExitCode.FAILED,
            f"The issuer gives no code ({answer.told()}).",
            "Ask whoever runs the server whether its client may use the device flow, or log in"
            " with a token: `backupexport login --token -`.",
        )
    return authorization_of(answer, client.issuer)


def authorization_of(answer: Answer, issuer: str) -> Authorization:
    """Return what the answer (3.2) says; raises CliError where it can't be followed."""
    body = answer.body
    device_code, user_code = body.get("device_code"), body.get("user_code")
    page = shown_url(body.get("verification_uri"), issuer)
    seconds = _whole(body.get("expires_in"))
    asked = body.get("interval")
    interval = _whole(_USUAL_INTERVAL if asked is None else asked)
    if not isinstance(device_code, str) or not device_code:
        raise _bad_answer("holds no device code")
    if not isinstance(user_code, str) or not _is_user_code(user_code):
        raise _bad_answer("holds no code that a person could type")
    if page is None:
        raise _bad_answer("names no https page to log in at")
    if seconds is None or seconds < 1:
        raise _bad_answer("does not say how long the code is good")
    if interval is None or interval < 0:
        raise _bad_answer("does not say how often it may be asked")
    seconds = min(seconds, _LONGEST_LIFE)
    # To ask more often than it says is forbidden, and to wait for that long is of no use.
    if interval > min(_LONGEST_INTERVAL, seconds):
        raise _bad_answer("wants too long a pause between two questions")
    return Authorization(
        device_code,
        user_code,
        page,
        shown_url(body.get("verification_uri_complete"), issuer),
        seconds,
        # A server that says 0 gets no busy loop.
        max(interval, 1),
    )


def wait_for_tokens(
    http: IssuerClient,
    endpoint: str,
    client: Client,
    given: Authorization,
    *,
    tell: Callable[[str], None],
    clock: Clock | None = None,
) -> Answer:
    """Ask (3.4, 3.5) until the person has logged in, and return the answer; raises CliError."""
    clock = clock or Clock()
    form = {"grant_type": GRANT, "device_code": given.device_code, "client_id": client.client_id}
    ends = clock.now() + given.seconds
    interval, pause = float(given.interval), 0.0
    while True:
        wait = max(interval, pause)
        if clock.now() + wait > ends:
            raise _expired()
        clock.sleep(wait)
        try:
            answer = http.post(endpoint, form)
            trouble = f"it answered {answer.status}" if answer.is_busy else ""
        except IssuerUnreachableError as error:
            trouble = str(error)
        if trouble:
            # 3.5: after a timeout less often, twice the pause each time.
            pause = min(max(wait, 1.0) * 2, _LONGEST_PAUSE_AFTER_A_CUT)
            tell(f"The issuer can't be reached for now ({trouble}); asking again.")
            continue
        pause = 0.0
        # Some have 200 for an error, too.
        if answer.status == 200 and not answer.error:
            return answer
        if answer.error == "slow_down":
            interval += _SLOW_DOWN
        elif answer.error != "authorization_pending":
            raise _refusal(answer)


def _refusal(answer: Answer) -> CliError:
    if answer.error == "access_denied":
        return CliError(ExitCode.NOT_ALLOWED, "The login was refused in the browser.", _AGAIN)
    if answer.error == "expired_token":
        return _expired()
    return CliError(
        ExitCode.NOT_ALLOWED, f"The issuer has refused the login ({answer.told()}).", _AGAIN
    )


def _expired() -> CliError:
    return CliError(
        ExitCode.NOT_ALLOWED, "The code has expired before anybody logged in with it.", _AGAIN
    )


def _bad_answer(what: str) -> CliError:
    return CliError(
        ExitCode.FAILED,
        f"The issuer's answer {what}.",
        "Ask whoever runs the server to check its issuer, or log in with a token:"
        " `backupexport login --token -`.",
    )


def _is_user_code(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_USER_CODE and clean(text) == text and bool(text.strip())


def _whole(value: Any) -> int | None:
    """Return a number of seconds; some issuers send it as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return int(value)
    except (OverflowError, ValueError):
        return None
