"""The whole program with keys from a JWKS: rotation, and a server that dies."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import SMALL, Installation
from jwks_server import JwksServer
from local_api import LocalApi, local_api
from playground.rest import Api
from playground.tools import wait_for
from token_issuers import AUDIENCE, ISSUER, Issuer

pytestmark = pytest.mark.cluster

OLD, NEW = Issuer.of("RS256", "old"), Issuer.of("ES256", "new")


@pytest.fixture
def server() -> Iterator[JwksServer]:
    server = JwksServer(OLD.jwk())
    yield server
    server.close()


@pytest.fixture
def local(installation: Installation, server: JwksServer, tmp_path: Path) -> Iterator[LocalApi]:
    settings = {
        "BACKUPEXPORT_JWT_ALGORITHMS": "RS256,ES256",
        "BACKUPEXPORT_JWT_SECRET": "",
        "BACKUPEXPORT_JWT_JWKS_URL": server.url,
        "BACKUPEXPORT_JWT_ISSUER": ISSUER,
        "BACKUPEXPORT_JWT_AUDIENCE": AUDIENCE,
        "BACKUPEXPORT_JWT_JWKS_REFRESH_SECONDS": "2",
    }
    with local_api(installation.namespace, tmp_path, settings) as api:
        yield api


def status(local: LocalApi, issuer: Issuer) -> int:
    """What a caller with a token of `issuer` gets."""
    claims = issuer.claims(sub=f"test-{secrets.token_hex(4)}", projects=[SMALL])
    return Api(local.url, issuer.token(claims=claims)).call("GET", "/api/jobs").status


def test_keys_come_and_go_and_their_server_dies(local: LocalApi, server: JwksServer) -> None:
    assert status(local, OLD) == 200
    assert status(local, NEW) == 401
    server.publish(OLD.jwk(), NEW.jwk())
    began = time.monotonic()
    wait_for(lambda: status(local, NEW) == 200, "the new key's tokens", 10)
    assert time.monotonic() - began < 10
    server.publish(NEW.jwk())
    wait_for(lambda: status(local, OLD) == 401, "the end of the old key's tokens", 10)
    server.close()
    assert status(local, NEW) == 200
    assert Api(local.url, "").call("GET", "/readyz").status == 200
    log = local.log.read_text()
    wait_for(lambda: "can't be read" in local.log.read_text(), "a line about the dead server", 20)
    assert server.url not in log
