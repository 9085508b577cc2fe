"""An OpenID Connect issuer on loopback with the device flow, written from RFC 8628.

It is strict where the RFC says what a client must do: a request that breaks a rule is refused and
noted in `broken_rules`.  Refresh tokens are used once (RFC 9700, 4.14.2): one that comes again ends
the login.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from token_issuers import Issuer

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CLIENT = "command-line"
AUDIENCE = "exports"
# 6.1 of the RFC: letters that make no words and are no digits.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass
class _Device:
    user_code: str
    scope: str
    ends: float
    interval: float
    asked: float
    state: str = "pending"


@dataclass
class _Login:
    scope: str
    refresh_token: str | None
    used: set[str] = field(default_factory=set)
    ended: bool = False


class DeviceIssuer:
    """Gives tokens for `subject`; `faults` are what the token endpoint does first, one a request.

    A fault is "cut" (the connection ends without an answer), or a status and a body.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.interval = 5
        self.lifetime = 600
        # Of the tokens that it gives from now on; what was given last ends at `token_ends`.
        self.token_seconds = 600
        self.token_ends = 0
        self.access_tokens_are_jwts = True
        self.claims: dict[str, Any] = {}
        # What stands in the answers instead of, or beside, what is right.
        self.discovery: dict[str, Any] = {}
        self.device_answer: dict[str, Any] = {}
        self.faults: list[str | tuple[int, Any]] = []
        self.answers: dict[str, Callable[[Any], None]] = {}
        self.broken_rules: list[str] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.revoked: list[str] = []
        self.key = Issuer.of("RS256", "key-1")
        self._devices: dict[str, _Device] = {}
        self._logins: list[_Login] = []
        self._lock = threading.Lock()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer._get(self)

            def do_POST(self) -> None:
                issuer._post(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that hangs up is what some tests are about."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Its name."""
        return f"http://127.0.0.1:{self._server.server_port}/issuer"

    def close(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def decide(self, state: str, user_code: str | None = None) -> None:
        """What the person does on the page: "approved" or "denied"."""
        with self._lock:
            for device in self._devices.values():
                if user_code in (None, device.user_code):
                    device.state = state

    def paths(self) -> list[str]:
        """What was asked, in order."""
        return [path for path, _ in self.requests]

    def forms(self, path: str) -> list[dict[str, str]]:
        """What was sent to one endpoint."""
        return [form for asked, form in self.requests if asked == path]

    def _get(self, request: Any) -> None:
        path = request.path.removeprefix("/issuer")
        self.requests.append((path, {}))
        if path in self.answers:
            self.answers[path](request)
        elif path == "/.well-known/openid-configuration":
            document = {
                "issuer": self.url,
                "token_endpoint": f"{self.url}/token",
                "device_authorization_endpoint": f"{self.url}/device",
                "revocation_endpoint": f"{self.url}/revoke",
                "jwks_uri": f"{self.url}/keys",
                **self.discovery,
            }
            send(request, 200, {name: value for name, value in document.items() if value})
        elif path == "/keys":
            send(request, 200, {"keys": [self.key.jwk()]})
        else:
            send(request, 404, {})

    def _post(self, request: Any) -> None:
        path = request.path.removeprefix("/issuer")
        raw = request.rfile.read(int(request.headers.get("Content-Length", "0"))).decode()
        pairs = parse_qsl(raw, keep_blank_values=True)
        form = dict(pairs)
        self.requests.append((path, form))
        if request.headers.get_content_type() != "application/x-www-form-urlencoded":
            self._broken("3.1: a request is a form")
        if len(form) != len(pairs):
            self._broken("RFC 6749, 3.2: no parameter comes twice")
        if path in self.answers:
            self.answers[path](request)
            return
        handler = {"/device": self._device, "/token": self._token, "/revoke": self._revoke}[path]
        with self._lock:
            fault = self.faults.pop(0) if path == "/token" and self.faults else None
            answer = handler(form) if fault is None else fault
        if isinstance(answer, str):
            request.close_connection = True
        else:
            send(request, *answer)

    def _device(self, form: dict[str, str]) -> tuple[int, Any]:
        if form.get("client_id") != CLIENT:
            return 401, {"error": "invalid_client"}
        code = "".join(secrets.choice(_LETTERS) for _ in range(8))
        user_code = f"{code[:4]}-{code[4:]}"
        device_code = secrets.token_urlsafe(32)
        self._devices[device_code] = _Device(
            user_code,
            form.get("scope", ""),
            self.clock() + self.lifetime,
            self.interval,
            self.clock(),
        )
        answer = {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": f"{self.url}/page",
            "verification_uri_complete": f"{self.url}/page?user_code={user_code}",
            "expires_in": self.lifetime,
            "interval": self.interval,
            **self.device_answer,
        }
        return 200, {name: value for name, value in answer.items() if value is not None}

    def _token(self, form: dict[str, str]) -> tuple[int, Any]:
        if form.get("client_id") != CLIENT:
            self._broken("3.4: client_id is required of a client without a secret")
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") == GRANT:
            return self._by_device(form)
        if form.get("grant_type") == "refresh_token":
            return self._by_refresh(form)
        self._broken("3.4: the grant type")
        return 400, {"error": "unsupported_grant_type"}

    def _by_device(self, form: dict[str, str]) -> tuple[int, Any]:
        device = self._devices.get(form.get("device_code", ""))
        if device is None:
            return 400, {"error": "invalid_grant"}
        now, since = self.clock(), self.clock() - device.asked
        device.asked = now
        if now > device.ends:
            return 400, {"error": "expired_token"}
        # A little less: the two ends of a connection see a pause differently.
        if since < device.interval - 0.1:
            self._broken("3.5: asked before the interval was over")
            device.interval += 5
            return 400, {"error": "slow_down"}
        if device.state == "denied":
            return 400, {"error": "access_denied"}
        if device.state == "pending":
            return 400, {"error": "authorization_pending"}
        if device.state == "too often":
            # The issuer wants it slower without a broken rule.
            device.state = "pending"
            device.interval += 5
            return 400, {"error": "slow_down"}
        del self._devices[form["device_code"]]
        login = _Login(device.scope, None)
        self._logins.append(login)
        return 200, self._given(login)

    def _by_refresh(self, form: dict[str, str]) -> tuple[int, Any]:
        token = form.get("refresh_token", "")
        for login in self._logins:
            if token in login.used:
                self._broken("RFC 9700, 4.14.2: a refresh token came again")
                login.ended = True
            elif token == login.refresh_token and not login.ended:
                login.used.add(token)
                return 200, self._given(login)
        return 400, {"error": "invalid_grant", "error_description": "no such refresh token"}

    def _given(self, login: _Login) -> dict[str, Any]:
        scopes = login.scope.split()
        login.refresh_token = secrets.token_urlsafe(24) if "offline_access" in scopes else None
        # Counted from here: however long somebody took to log in, the whole of it is left.
        self.token_ends = int(time.time()) + self.token_seconds
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "jti": secrets.token_hex(8),
            "exp": self.token_ends,
            **self.claims,
        }
        jwt = self.key.token(claims=self.key.claims(**claims))
        answer = {
            "access_token": jwt if self.access_tokens_are_jwts else secrets.token_urlsafe(24),
            "token_type": "bearer",
            "expires_in": self.token_seconds,
        }
        if "openid" in scopes:
            answer["id_token"] = self.key.token(claims=self.key.claims(**claims | {"aud": CLIENT}))
        if login.refresh_token:
            answer["refresh_token"] = login.refresh_token
        return answer

    def _revoke(self, form: dict[str, str]) -> tuple[int, Any]:
        self.revoked.append(form.get("token", ""))
        for login in self._logins:
            login.ended = login.ended or login.refresh_token == form.get("token")
        return 200, {}

    def _broken(self, rule: str) -> None:
        self.broken_rules.append(rule)


def send(request: Any, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    """Answer with JSON, or with bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(raw)))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(raw)
