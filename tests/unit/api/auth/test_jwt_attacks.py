"""A table of attacks on tokens: each gets a 401 on every route, and nothing reaches the cluster."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import jwt
import pytest
from backupexport_api.app import create_app
from backupexport_api.settings import ApiSettings
from backupexport_api.telemetry.metrics import Metrics
from cryptography.hazmat.primitives.asymmetric import ed448
from fastapi import FastAPI
from jwks_server import JwksServer, eventually
from token_issuers import AUDIENCE, ISSUER, Issuer, new_key, segment

JOB_ID = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
LINK_ID = "0123456789abcdef"
WAYS = {
    "HS256": "HS256",
    "RS256-PEM": "RS256",
    "ES256-PEM": "ES256",
    "EdDSA-PEM": "EdDSA",
    "RS256-JWKS": "RS256",
    "ES256-JWKS": "ES256",
}
WITH_PUBLIC_KEY = [way for way in WAYS if way != "HS256"]
WITH_KEY_IDS = [way for way in WAYS if way.endswith("JWKS")]
HOSTILE_KEY_IDS = {
    "path": "../../../../dev/null",
    "absolute-path": "/etc/passwd",
    "url": "https://attacker.example/jwks.json",
    "sql": "x' UNION SELECT 'secret' --",
    "nul": "key-1\0",
    "empty": "",
    "long": "k" * 4000,
    "prototype": "__proto__",
}

# Headers that lead to a key.  Some issuers send them; whoever follows them trusts anybody.
KEYS_OF_ITS_OWN: dict[str, Callable[["Target"], dict[str, Any]]] = {
    "jku": lambda t: {"jku": t.lure.url},
    "x5u": lambda t: {"x5u": t.lure.url},
    "x5c": lambda _: {"x5c": ["MIIB"], "x5t": "AAAA", "x5t#S256": "AAAA"},
    "jwk": lambda t: {"jwk": _jwk_of(t.attacker)},
    "all-at-once": lambda t: {"jku": t.lure.url, "x5u": t.lure.url, "jwk": _jwk_of(t.attacker)},
    "jku-of-another-type": lambda t: {"jku": [t.lure.url], "x5u": 7, "jwk": "{", "x5c": None},
}


class UntouchableStore:
    """Notes every call, and fails it."""

    def __init__(self) -> None:
        self.touched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            self.touched.append(name)
            raise AssertionError(f"{name} was called")

        return call


@dataclass
class Target:
    """An app that is told whom to trust, and who that is."""

    app: FastAPI
    issuer: Issuer
    attacker: Issuer
    store: UntouchableStore
    lure: JwksServer
    """Where a header may lead: nobody is to go there."""

    def operations(self) -> list[tuple[str, str]]:
        """Every method and path that a client needs a token for."""
        return [
            (method.upper(), path.format(job_id=JOB_ID, link_id=LINK_ID))
            for path, operations in self.app.openapi()["paths"].items()
            for method in operations
            # What a client reads before it has a token is the only one without.
            if path.startswith("/api/") and path != "/api/client-configuration"
        ]


@pytest.fixture(scope="module")
def targets() -> Iterator[Callable[[str], Target]]:
    """A maker of targets, one for each way of checking."""
    with contextlib.ExitStack() as at_the_end:
        yield cache(lambda way: _target(way, at_the_end))


@pytest.fixture(params=WAYS)
def target(request: pytest.FixtureRequest, targets: Callable[[str], Target]) -> Target:
    return targets(request.param)


def _target(way: str, at_the_end: contextlib.ExitStack) -> Target:
    key_id = "key-1" if way in WITH_KEY_IDS else None
    issuer = Issuer.of(WAYS[way], key_id)
    environment = {
        "NAMESPACE": "exports",
        "JWT_ALGORITHMS": issuer.algorithm,
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        # Or downloads and links would be refused whoever asks.
        "EXPORTS_DIRECTORY": "/nowhere",
        "LINK_SECRET": "l" * 32,
    }
    attacker = issuer.by(
        key=b"k" * 64 if issuer.algorithm == "HS256" else new_key(issuer.algorithm)
    )
    lure = JwksServer(_jwk_of(attacker))
    at_the_end.callback(lure.close)
    if way in WITH_KEY_IDS:
        server = JwksServer(issuer.jwk())
        at_the_end.callback(server.close)
        environment["JWT_JWKS_URL"] = server.url
    elif way in WITH_PUBLIC_KEY:
        environment["JWT_PUBLIC_KEY"] = issuer.pem()
    else:
        environment["JWT_SECRET"] = issuer.key.decode()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(f"BACKUPEXPORT_{name}", value)
        settings = ApiSettings()
    store: Any = UntouchableStore()
    app = create_app(settings, store, Metrics())
    app.state.authenticator.start()
    at_the_end.callback(app.state.authenticator.stop)
    eventually(lambda: not app.state.authenticator.unready())
    return Target(app, issuer, attacker, store, lure)


def _jwk_of(issuer: Issuer) -> dict[str, Any]:
    if issuer.algorithm == "HS256":
        return {"kty": "oct", "k": segment(issuer.key), "alg": "HS256"}
    return issuer.jwk()


@pytest.fixture
async def client(target: Target) -> AsyncIterator[httpx.AsyncClient]:
    target.store.touched.clear()
    transport = httpx.ASGITransport(target.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


@dataclass
class Attacks:
    """The table: what each sends, a token or whole headers, and the ways of checking it is for."""

    table: dict[str, Callable[[Target], Any]] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def add(
        self, name: str, make: Callable[[Target], Any], ways: Iterable[str] = tuple(WAYS)
    ) -> None:
        assert name not in self.table
        self.table[name] = make
        self.pairs += [(way, name) for way in ways]

    def add_claims(self, name: str, **claims: Any) -> None:
        """Well signed, with bad claims."""
        self.add(name, lambda t: t.issuer.token(claims=t.issuer.claims(**claims)))

    def add_header(self, name: str, **header: Any) -> None:
        """Both well signed and signed by somebody else."""
        self.add(f"{name}-well-signed", lambda t: t.issuer.token(t.issuer.header(**header)))
        self.add(f"{name}-forged", lambda t: t.attacker.token(t.issuer.header(**header)))


ATTACKS = Attacks()


def _raw_claims(text: str) -> Callable[[Target], str]:
    """Claims that json.dumps would not write."""
    body = f'{{"sub": "alice", "iss": "{ISSUER}", "aud": "{AUDIENCE}", {text}}}'
    return lambda t: t.issuer.token(claims=body.encode())


def _unsigned(algorithm: Any, *, signature: str = "") -> Callable[[Target], str]:
    return lambda t: (
        f"{segment(t.issuer.header(alg=algorithm))}.{segment(t.issuer.claims())}." + (signature)
    )


def _confused(key_of: Callable[[Issuer], bytes], algorithm: str = "HS256") -> Any:
    """Signed with what is public, as if it were a shared secret."""
    return lambda t: Issuer(algorithm, key_of(t.issuer)).token(
        t.issuer.header(alg=algorithm), t.issuer.claims()
    )


def _other_algorithm_of_the_family(t: Target) -> str:
    other = {"HS256": "HS512", "RS256": "RS512", "ES256": "ES384", "EdDSA": "EdDSA"}
    name = other[t.issuer.algorithm]
    key = ed448.Ed448PrivateKey.generate() if name == "EdDSA" else t.issuer.key
    return t.issuer.by(algorithm=name, key=key).token()


def _another_family(t: Target) -> str:
    name = "ES256" if t.issuer.algorithm != "ES256" else "RS256"
    return Issuer.of(name).token(t.issuer.header(alg=name), t.issuer.claims())


def _payload_swapped(t: Target) -> str:
    header, _, signature = t.issuer.token().split(".")
    return f"{header}.{segment(t.issuer.claims(sub='root'))}.{signature}"


def _signature_changed(t: Target) -> str:
    head, _, signature = t.issuer.token().rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _add_shapes() -> None:
    add = ATTACKS.add
    add("no-token", lambda _: [])
    add("empty-header", lambda _: [("Authorization", "")])
    add("scheme-alone", lambda _: [("Authorization", "Bearer")])
    add("scheme-and-blanks", lambda _: [("Authorization", "Bearer   ")])
    add("token-without-scheme", lambda t: [("Authorization", t.issuer.token())])
    add("basic-scheme", lambda _: [("Authorization", "Basic YWxpY2U6aHVudGVyMg==")])
    add("basic-scheme-with-a-token", lambda t: [("Authorization", f"Basic {t.issuer.token()}")])
    add("two-headers", lambda t: [("Authorization", f"Bearer {t.issuer.token()}")] * 2)
    add(
        "two-headers-one-good",
        lambda t: [
            ("Authorization", f"Bearer {t.issuer.token()}"),
            ("authorization", f"Bearer {t.attacker.token()}"),
        ],
    )
    add("two-tokens", lambda t: f"{t.issuer.token()}, Bearer {t.issuer.token()}")
    add("token-in-the-query", lambda t: ("?access_token=", t.issuer.token()))

    for name, text in {
        "word": "hunter2",
        "dots": "..",
        "many-dots": "." * 5000,
        "letters": "a.b.c",
        "not-ascii": "\xe9.\xff.\x80",
        "not-base64": "!!!!.????.####",
        "nested-header": f"{segment(b'[' * 5000)}.e30.AAAA",
        "header-no-object": f"{segment([])}.e30.AAAA",
        "header-not-utf-8": segment(b'{"alg": "\xff\xfe"}') + ".e30.AAAA",
        "five-parts": "a.b.c.d.e",
    }.items():
        add(f"garbage-{name}", lambda _, text=text: text)  # type: ignore[misc]
    add("garbage-claims", lambda t: t.issuer.token(claims=b"\xff\xfe{"))
    add("garbage-claims-list", lambda t: t.issuer.token(claims=b"[1]"))
    add("garbage-claims-nested", lambda t: t.issuer.token(claims=b"[" * 5000))


def _add_algorithms() -> None:
    add = ATTACKS.add
    for name in ("none", "None", "NONE", "nOnE", ""):
        add(f"alg-{name or 'empty'}", _unsigned(name))
        add(f"alg-{name or 'empty'}-with-a-signature", _unsigned(name, signature="AAAA"))
    for number, value in enumerate((None, 7, ["HS256"], {"a": 1}, True)):
        add(f"alg-no-text-{number}", _unsigned(value))
    add("alg-missing", lambda t: t.issuer.token({"typ": "JWT"}))
    add("alg-lower-case", lambda t: t.issuer.token(t.issuer.header(alg=t.issuer.algorithm.lower())))
    add("alg-of-the-same-family", _other_algorithm_of_the_family)
    add("alg-of-another-family", _another_family)
    add("confusion-pem", _confused(lambda issuer: issuer.pem().encode()), WITH_PUBLIC_KEY)
    add(
        "confusion-pem-stripped",
        _confused(lambda issuer: issuer.pem().strip().encode()),
        WITH_PUBLIC_KEY,
    )
    add(
        "confusion-pem-hs512",
        _confused(lambda issuer: issuer.pem().encode(), "HS512"),
        WITH_PUBLIC_KEY,
    )
    add("confusion-der", _confused(lambda issuer: issuer.der()), WITH_PUBLIC_KEY)
    add("confusion-jwk", _confused(lambda issuer: segment(issuer.jwk()).encode()), WITH_PUBLIC_KEY)


def _add_times() -> None:
    add = ATTACKS.add
    claims = ATTACKS.add_claims
    now = int(time.time())
    claims("expired", exp=now - 60)
    claims("expired-long-ago", exp=0)
    claims("not-yet-valid", nbf=now + 600)
    claims("issued-in-the-future", iat=now + 600)
    claims("no-exp", exp=None)
    add("exp-null", _raw_claims('"exp": null'))
    claims("exp-text", exp=str(now + 600))
    claims("exp-words", exp="soon")
    claims("exp-true", exp=True)
    claims("exp-list", exp=[now + 600])
    claims("exp-huge", exp=10**30)
    claims("exp-huge-float", exp=1e300)
    claims("exp-negative", exp=-1)
    for value in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000):
        add(f"exp-{value[:9]}", _raw_claims(f'"exp": {value}'))
    claims("nbf-text", nbf=str(now - 60))
    claims("iat-text", iat=str(now - 60))
    add("nbf-NaN", _raw_claims(f'"exp": {now + 600}, "nbf": NaN'))
    add("nbf-null", _raw_claims(f'"exp": {now + 600}, "nbf": null'))


def _add_claims() -> None:
    add = ATTACKS.add
    claims = ATTACKS.add_claims
    claims("no-sub", sub=None)
    add("sub-null", lambda t: t.issuer.token(claims={**t.issuer.claims(), "sub": None}))
    for name, value in {
        "empty": "",
        "blank": " \t ",
        "number": 7,
        "list": ["alice"],
        "object": {"name": "alice"},
        "true": True,
        "surrogate": "\ud800",
        "long": "a" * 1025,
    }.items():
        claims(f"sub-{name}", sub=value)

    claims("wrong-aud", aud="other")
    claims("wrong-aud-list", aud=["other", AUDIENCE + "x"])
    claims("no-aud", aud=None)
    claims("aud-number", aud=7)
    claims("aud-mixed", aud=[AUDIENCE, 7])
    claims("wrong-iss", iss="https://attacker.example")
    claims("longer-iss", iss=ISSUER + "/")
    claims("no-iss", iss=None)
    claims("iss-list", iss=[ISSUER])
    for name, value in {
        "text": "proj-123",
        "number": 1,
        "object": {"*": 1},
        "mixed": ["a", 1],
    }.items():
        claims(f"projects-{name}", projects=value)
    add("projects-null", lambda t: t.issuer.token(claims={**t.issuer.claims(), "projects": None}))


def _add_signatures() -> None:
    add = ATTACKS.add
    add("wrong-key", lambda t: t.attacker.token())
    add("signature-stripped", lambda t: t.issuer.token().rpartition(".")[0] + ".")
    add("signature-and-dot-stripped", lambda t: t.issuer.token().rpartition(".")[0])
    add("signature-changed", _signature_changed)
    add("signature-cut", lambda t: t.issuer.token()[:-4])
    add("payload-swapped", _payload_swapped)
    add("oversized", lambda t: t.issuer.token(claims=t.issuer.claims(padding="x" * 8192)))


def _add_headers() -> None:
    add = ATTACKS.add
    header = ATTACKS.add_header
    add("unknown-kid", lambda t: t.issuer.token(t.issuer.header(kid="key-2")), WITH_KEY_IDS)
    for name, key_id in HOSTILE_KEY_IDS.items():
        add(f"kid-{name}-forged", lambda t, k=key_id: t.attacker.token(t.issuer.header(kid=k)))  # type: ignore[misc]
        add(
            f"kid-{name}-well-signed",
            lambda t, k=key_id: t.issuer.token(t.issuer.header(kid=k)),  # type: ignore[misc]
            WITH_KEY_IDS,
        )
    add(
        "kid-of-an-empty-secret",
        lambda t: Issuer("HS256", b"").token(
            t.issuer.header(alg="HS256", kid=HOSTILE_KEY_IDS["path"]), t.issuer.claims()
        ),
    )
    for number, value in enumerate((7, None, ["key-1"], {"a": 1})):
        header(f"kid-no-text-{number}", kid=value)
    for name, make in KEYS_OF_ITS_OWN.items():
        add(f"{name}-forged", lambda t, m=make: t.attacker.token(t.issuer.header(**m(t))))  # type: ignore[misc]
        add(
            f"{name}-forged-without-kid",
            lambda t, m=make: t.attacker.token(t.attacker.by(key_id=None).header(**m(t))),  # type: ignore[misc]
        )
    header("crit", crit=["exp"])
    header("crit-understood-by-pyjwt", crit=["b64"], b64=True)
    header("crit-empty", crit=[])
    header("b64-false", b64=False)


for _add in (
    _add_shapes,
    _add_algorithms,
    _add_times,
    _add_claims,
    _add_signatures,
    _add_headers,
):
    _add()


def _request(sent: Any) -> tuple[str, list[tuple[str, str]]]:
    if isinstance(sent, tuple):
        return "".join(sent), []
    return "", sent if isinstance(sent, list) else [("Authorization", f"Bearer {sent}")]


@pytest.mark.parametrize(
    ("target", "attack"), sorted(ATTACKS.pairs), indirect=["target"], scope="module"
)
async def test_an_attack(
    target: Target, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, attack: str
) -> None:
    caplog.set_level("DEBUG", logger="backupexport_api")
    sent = ATTACKS.table[attack](target)
    query, headers = _request(sent)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answers = ""
    for method, path in target.operations():
        response = await client.request(method, path + query, headers=raw)
        assert response.status_code == 401, f"{method} {path}"
        assert response.headers["Content-Type"] == "application/problem+json"
        challenge = response.headers["WWW-Authenticate"]
        if response.json()["code"] == "token_missing":
            assert challenge == 'Bearer realm="backupexport"'
        else:
            assert response.json()["code"] == "token_invalid"
            assert challenge.startswith('Bearer realm="backupexport", error="invalid_token", ')
        answers += response.text + str(response.headers)
    assert target.store.touched == []
    assert target.lure.fetches == 0
    if not query:
        told = caplog.text + str([vars(record) for record in caplog.records]) + answers
        for _, value in headers:
            assert not any(part in told for part in value.split(".") if len(part) > 12)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token_gets_through(
    target: Target, client: httpx.AsyncClient, scheme: str
) -> None:
    body = {"project_id": "proj-123"}
    for method, path in target.operations():
        target.store.touched.clear()
        # Not remembered from the operation before.
        token = target.issuer.token(claims=target.issuer.claims(jti=method + path))
        headers = {"Authorization": f"{scheme} {token}"}
        is_export = path == "/api/backup/export"
        await client.request(method, path, headers=headers, json=body if is_export else None)
        assert target.store.touched, f"{method} {path}"


@pytest.mark.parametrize("name", KEYS_OF_ITS_OWN)
async def test_a_key_that_a_good_token_brings_along_is_ignored(
    target: Target, client: httpx.AsyncClient, name: str
) -> None:
    header = target.issuer.header(**KEYS_OF_ITS_OWN[name](target))
    headers = {"Authorization": f"Bearer {target.issuer.token(header)}"}
    await client.get("/api/jobs", headers=headers)
    assert target.store.touched
    assert target.lure.fetches == 0


def test_all_routes_are_attacked(target: Target) -> None:
    assert {
        ("POST", "/api/backup/export"),
        ("GET", "/api/jobs"),
        ("GET", f"/api/jobs/{JOB_ID}"),
        ("POST", f"/api/jobs/{JOB_ID}/cancel"),
        ("GET", f"/api/jobs/{JOB_ID}/download"),
        ("POST", f"/api/jobs/{JOB_ID}/link"),
        ("DELETE", f"/api/jobs/{JOB_ID}/links"),
        ("DELETE", f"/api/jobs/{JOB_ID}/links/{LINK_ID}"),
        ("GET", "/api/projects"),
    } <= set(target.operations())


def test_the_table_signs_as_pyjwt_does(target: Target) -> None:
    """A broken signer would make every attack a success."""
    issuer = target.issuer
    key = issuer.key if issuer.algorithm == "HS256" else issuer.pem()
    jwt.decode(issuer.token(), key, algorithms=[issuer.algorithm], audience=AUDIENCE)
