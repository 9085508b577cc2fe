"""The whole program with keys from a JWKS: rotation, and a server that dies."""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from installation import SMALL, Installation
from jwks_server import JwksServer
from local_api import LocalApi, local_api
from playground.rest import Api
from playground.tools import get, kubectl, wait_for
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
    wait_for(lambda: status(local, NEW) == 200, "the new key's tokens", 30)
    assert time.monotonic() - began < 30
    server.publish(NEW.jwk())
    wait_for(lambda: status(local, OLD) == 401, "the end of the old key's tokens", 30)
    server.close()
    assert status(local, NEW) == 200
    assert Api(local.url, "").call("GET", "/readyz").status == 200
    log = local.log.read_text()
    wait_for(lambda: "can't be read" in local.log.read_text(), "a line about the dead server", 60)
    assert server.url not in log


def test_the_shared_secret_changes_while_the_pods_go_on(
    installation: Installation, api: Api
) -> None:
    """The kubelet brings the Secret's change to pods that go on; tokens of both keys are good."""
    namespace, name = installation.namespace, f"{installation.release.name}-jwt"
    data = get("-n", namespace, "secret", name)["data"]
    selector = "app.kubernetes.io/component=api"
    new = secrets.token_urlsafe(48)
    claims = {"sub": "rotated", "exp": int(time.time()) + 3600, "projects": [SMALL]}
    caller = Api(api.url, jwt.encode(claims, new, "HS256"))

    def put(**keys: str | None) -> None:
        patch = json.dumps({"data": keys})
        kubectl("-n", namespace, "patch", "secret", name, "--type=merge", "-p", patch)
        # By itself the kubelet looks once a minute; a pod that was changed it looks at now.
        kubectl(
            "-n", namespace, "annotate", "pods", "-l", selector, "--overwrite",
            f"tests/looked-at={secrets.token_hex(4)}",
        )  # fmt: skip

    def pods() -> set[tuple[str, int]]:
        return {
            (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
            for pod in get("-n", namespace, "pods", "-l", selector)["items"]
        }

    before = pods()
    assert caller.call("GET", "/api/jobs").status == 401
    new_data = base64.b64encode(new.encode()).decode()
    try:
        put(**{"jwt-secret": new_data, "jwt-secret-previous": data["jwt-secret"]})
        wait_for(
            lambda: caller.call("GET", "/api/jobs").status == 200, "the new secret's tokens", 180
        )
        assert api.call("GET", "/api/jobs").status == 200
    finally:
        put(**{"jwt-secret": data["jwt-secret"], "jwt-secret-previous": None})
    wait_for(lambda: caller.call("GET", "/api/jobs").status == 401, "the end of its tokens", 180)
    assert api.call("GET", "/api/jobs").status == 200
    assert pods() == before
