"""Keys from a JWKS URL: rotation, and a server that is dead, slow or talks nonsense."""

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import urllib3
from backupexport_api.auth import jwks as jwks_module
from backupexport_api.auth.jwks import ASK_SECONDS, MOST_WAITING, JwksFetch, JwksSource
from backupexport_api.auth.keys import KeysUnavailableError, UnusableKeysError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwks_server import JwksServer, eventually
from token_issuers import AUDIENCE, Issuer, jwks

Make = Callable[..., Any]

URL = "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
OLD, NEW = Issuer.of("ES256", "old"), Issuer.of("ES256", "new")


@pytest.fixture
def server() -> Iterator[JwksServer]:
    server = JwksServer(OLD.jwk())
    yield server
    server.close()


@pytest.fixture
def started(make_client: Make, server: JwksServer) -> Iterator[Make]:
    """A maker of clients whose app reads keys, and has read them unless told otherwise."""
    authenticators = []

    def start(*, is_ready: bool = True, **environment: str) -> Any:
        client = make_client(
            JWT_ALGORITHMS="ES256",
            JWT_SECRET="",
            JWT_JWKS_URL=server.url,
            JWT_AUDIENCE=AUDIENCE,
            **environment,
        )
        authenticator = client._transport.app.state.authenticator
        authenticators.append(authenticator)
        authenticator.start()
        if is_ready:
            eventually(lambda: not authenticator.unready())
        return client

    yield start
    for authenticator in authenticators:
        authenticator.stop()


async def answer(client: httpx.AsyncClient, issuer: Issuer, **header: Any) -> httpx.Response:
    token = issuer.token(issuer.header(**header))
    return await client.get(URL, headers={"Authorization": f"Bearer {token}"})


async def test_a_new_key_is_good_at_once(
    started: Make, server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever is told of the read only by the end of his patience is far too late.
    monkeypatch.setattr(jwks_module, "_WAIT_SECONDS", 600)
    async with started(JWT_JWKS_REFRESH_SECONDS="3000") as client:
        assert (await answer(client, OLD)).status_code == 404
        server.publish(OLD.jwk(), NEW.jwk())
        began = time.monotonic()
        assert (await answer(client, NEW)).status_code == 404
        assert (await answer(client, OLD)).status_code == 404
        assert time.monotonic() - began < 60


async def test_a_removed_key_stops_working(started: Make, server: JwksServer) -> None:
    async with started(JWT_JWKS_REFRESH_SECONDS="1") as client:
        token = {"Authorization": f"Bearer {OLD.token()}"}
        assert (await client.get(URL, headers=token)).status_code == 404
        server.publish(NEW.jwk())
        fetches = server.fetches
        # The second fetch from now begins only after the first has been taken over.
        while server.fetches < fetches + 2:
            await asyncio.sleep(0.01)
        # The same token, which has been remembered as good.
        assert (await client.get(URL, headers=token)).status_code == 401
        assert (await answer(client, NEW)).status_code == 404


async def test_an_unknown_key_brings_a_removal_to_light(started: Make, server: JwksServer) -> None:
    async with started(JWT_JWKS_REFRESH_SECONDS="3000") as client:
        assert (await answer(client, OLD)).status_code == 404
        server.publish(NEW.jwk())
        assert (await answer(client, NEW)).status_code == 404
        assert (await answer(client, OLD)).status_code == 401


async def test_plain_http_is_warned_of(
    started: Make, server: JwksServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with started():
        assert caplog.text.count("plain http") == 1
        assert server.url not in caplog.text


async def test_a_token_without_an_id(started: Make, server: JwksServer) -> None:
    server.publish(OLD.jwk(), NEW.jwk())
    async with started() as client:
        assert (await answer(client, NEW.by(key_id=None))).status_code == 404
        stranger = Issuer.of("ES256")
        assert (await answer(client, stranger)).status_code == 401


async def test_a_dead_server(started: Make, server: JwksServer) -> None:
    async with started(JWT_JWKS_REFRESH_SECONDS="1") as client:
        server.close()
        assert (await answer(client, OLD)).status_code == 404
        assert (await answer(client, NEW)).status_code == 401
        assert (await client.get("/readyz")).status_code == 200


async def test_starting_while_the_server_is_dead(started: Make, server: JwksServer) -> None:
    server.status = 500
    async with started(is_ready=False, JWT_JWKS_REFRESH_SECONDS="1") as client:
        refused = await answer(client, OLD)
        assert (refused.status_code, refused.json()["code"]) == (503, "signing_keys_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert "keys that check tokens were read never yet" in ready.json()["detail"]
        for garbage in ("x", "a.b.c", OLD.by(algorithm="ES384").token(OLD.header(alg="ES384"))):
            bad = await client.get(URL, headers={"Authorization": f"Bearer {garbage}"})
            assert bad.status_code == 401
        server.status = 200
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        assert (await answer(client, OLD)).status_code == 404


async def test_the_secret_s_tokens_need_no_server(
    make_client: Make, bearer: Make, server: JwksServer
) -> None:
    server.close()
    environment = {"JWT_ALGORITHMS": "HS256,ES256", "JWT_AUDIENCE": AUDIENCE}
    async with make_client(**environment, JWT_JWKS_URL=server.url) as client:
        assert (await client.get(URL, headers=bearer(aud=AUDIENCE))).status_code == 404
        assert (await answer(client, OLD)).status_code == 503


async def test_a_flood_of_unknown_ids(started: Make, server: JwksServer) -> None:
    async with started(JWT_JWKS_REFRESH_SECONDS="3000") as client:
        fetches = server.fetches
        began = time.monotonic()
        for _ in range(5):
            answers = await asyncio.gather(
                *(answer(client, OLD, kid=f"random-{number}") for number in range(40))
            )
            assert {found.status_code for found in answers} == {401}
        allowed = 1 + (time.monotonic() - began) // ASK_SECONDS
        assert 1 <= server.fetches - fetches <= allowed


async def test_requests_share_a_fetch_and_hold_nothing_up(
    started: Make, server: JwksServer
) -> None:
    async with started(JWT_JWKS_REFRESH_SECONDS="3000") as client:
        server.publish(OLD.jwk(), NEW.jwk())
        fetches, going_on = server.fetches, threading.Event()
        server.before_answer = going_on.wait
        threads = threading.active_count()
        waiting = [asyncio.create_task(answer(client, NEW)) for _ in range(60)]
        while server.fetches == fetches:
            await asyncio.sleep(0.01)
        # One that gives up doesn't take the others with it.
        waiting.pop().cancel()
        assert (await answer(client, OLD)).status_code == 404
        assert not any(task.done() for task in waiting)
        # The server's own thread for the fetch, and those that count reads; none for a wait.
        assert threading.active_count() <= threads + 3
        going_on.set()
        answers = await asyncio.gather(*waiting)
        assert {found.status_code for found in answers} == {404}
        assert server.fetches == fetches + 1


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A fetch that gives, or raises, what a test wants."""

    def __init__(self, *keys: Any) -> None:
        self.answer: Any = jwks(*keys)

    def __call__(self) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return bytes(self.answer)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetch() -> Scripted:
    return Scripted(OLD.jwk())


@pytest.fixture
def source(fetch: Scripted, clock: Clock) -> JwksSource:
    return JwksSource(fetch, ["ES256"], refresh_seconds=60, max_age_seconds=3600, clock=clock)


def test_keys_grow_too_old(source: JwksSource, fetch: Scripted, clock: Clock) -> None:
    with pytest.raises(KeysUnavailableError):
        source.current()
    assert source.read()
    keys = source.current()
    fetch.answer = OSError("down")
    clock.now += 3600
    assert not source.read()
    assert source.current() is keys
    assert source.unready() == []
    clock.now += 1
    with pytest.raises(KeysUnavailableError):
        source.current()
    assert source.unready() == ["the keys that check tokens were read too long ago"]
    fetch.answer = jwks(OLD.jwk())
    assert source.read()
    assert source.current() is keys


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"hunter2",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"keys": {"hunter2": 1}}',
        b'{"keys": [1, "hunter2", null]}',
        b"[" * 100_000,
        jwks({"kty": "oct", "k": "aHVudGVyMg", "kid": "hunter2", "alg": "HS256"}),
        jwks(OLD.jwk(crv="P-384")),
        OSError("hunter2"),
        ValueError("hunter2"),
        KeyError("hunter2"),
    ],
)
def test_nonsense_changes_nothing(
    source: JwksSource, fetch: Scripted, caplog: pytest.LogCaptureFixture, nonsense: Any
) -> None:
    caplog.set_level("DEBUG")
    assert source.read()
    keys = source.current()
    fetch.answer = nonsense
    caplog.clear()
    for _ in range(3):
        assert not source.read()
    assert source.current() is keys
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text
    fetch.answer = jwks(OLD.jwk(), NEW.jwk())
    assert source.read()
    assert source.current() is not keys


async def test_asking_too_often(source: JwksSource, clock: Clock) -> None:
    assert source._ask() is source._ask() is not None
    source._asked = None
    clock.now += ASK_SECONDS - 0.1
    assert await source.refreshed() is False
    clock.now += 0.2
    assert source._ask() is not None


async def test_a_server_that_hangs_does_not_hold_all_who_ask() -> None:
    going_on = threading.Event()

    def fetch() -> bytes:
        assert going_on.wait(60)
        return jwks(OLD.jwk())

    source = JwksSource(fetch, ["RS256"], refresh_seconds=3000, max_age_seconds=3600)
    source.start()
    waiting = [asyncio.create_task(source.refreshed()) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    # At once, although nothing is read.
    assert await asyncio.wait_for(source.refreshed(), 30) is False
    going_on.set()
    assert all(await asyncio.gather(*waiting))
    source.stop()


async def test_a_read_that_began_before_the_request_is_not_its_answer() -> None:
    begun, going_on = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    reads = iter(range(2))

    def fetch() -> bytes:
        number = next(reads)
        begun[number].set()
        assert going_on[number].wait(60)
        return jwks(OLD.jwk())

    source = JwksSource(fetch, ["RS256"], refresh_seconds=3000, max_age_seconds=3600)
    source.start()
    assert await asyncio.to_thread(begun[0].wait, 60)
    waiting = asyncio.create_task(source.refreshed())
    while source._asked is None:
        await asyncio.sleep(0)
    going_on[0].set()
    # The first read is over before the second begins.
    assert await asyncio.to_thread(begun[1].wait, 60)
    assert not waiting.done()
    going_on[1].set()
    assert await waiting
    source.stop()


def test_a_thread_that_stops(source: JwksSource) -> None:
    source.start()
    eventually(lambda: not source.unready())
    source.stop()
    assert not source._thread.is_alive()


def test_fetching(server: JwksServer) -> None:
    assert JwksFetch(server.url)() == server.document


def test_certificates_are_checked(
    server: JwksServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(self_signed("127.0.0.1"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.use_tls(context)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(urllib3.exceptions.SSLError):
        JwksFetch(server.url)()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert JwksFetch(server.url)() == server.document


def self_signed(address: str) -> bytes:
    """A certificate and its key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private


@pytest.mark.parametrize("status", [204, 301, 302, 307, 401, 404, 500])
def test_only_200_counts(server: JwksServer, status: int) -> None:
    elsewhere = JwksServer(NEW.jwk())
    server.status = status
    server.headers = {"Location": elsewhere.url}
    with pytest.raises(UnusableKeysError, match=f"status {status}"):
        JwksFetch(server.url)()
    assert elsewhere.fetches == 0
    elsewhere.close()


def test_a_huge_document(server: JwksServer) -> None:
    server.document = b" " * (jwks_module.MOST_BYTES + 1)
    with pytest.raises(UnusableKeysError, match="larger"):
        JwksFetch(server.url)()
    server.document = b" " * jwks_module.MOST_BYTES
    assert len(JwksFetch(server.url)()) == jwks_module.MOST_BYTES


def test_a_slow_server(server: JwksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "SECONDS", 0.2)
    going_on = threading.Event()
    server.before_answer = going_on.wait
    with pytest.raises(Exception, match="timed out"):
        JwksFetch(server.url)()
    going_on.set()


def test_a_server_that_sends_byte_by_byte(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_module, "SECONDS", 1.5)
    stopped = threading.Event()

    def drip(out: Any, body: bytes) -> None:
        for byte in body:
            if stopped.wait(0.05):
                return
            out.write(bytes([byte]))

    server.send_body = drip
    with pytest.raises(UnusableKeysError, match="longer than"):
        JwksFetch(server.url)()
    stopped.set()
