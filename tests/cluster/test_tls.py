"""TLS to real servers is as strict as the strictest source says, and never dropped in silence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certificate_authority import Authority
from failing_exports import Attempted, assert_failed_at_once, begin
from installation import Installation
from playground.postgres import Postgres
from playground.tools import ToolError, get, kubectl, wait_for

pytestmark = pytest.mark.cluster

# The server of a client certificate takes it for this user.
_ROLES = """
CREATE ROLE scrambled LOGIN PASSWORD 'scrambled-password' IN ROLE pg_read_all_data;
CREATE ROLE clear LOGIN PASSWORD 'clear-password' IN ROLE pg_read_all_data;
CREATE ROLE certified LOGIN IN ROLE pg_read_all_data;
"""
_HBA = """local all all trust
host all clear all password
hostssl all certified all cert map=certificates
hostssl all all all scram-sha-256
"""
_IDENT = 'certificates "a server of the tests" certified\n'
_SETTINGS = """
ALTER SYSTEM SET ssl = on;
ALTER SYSTEM SET ssl_ca_file = 'authority.crt';
SELECT pg_reload_conf();
"""


@dataclass(frozen=True)
class Secured:
    """A server that speaks TLS; `connection` says nothing of it."""

    connection: dict[str, str]
    authority: str
    stranger: str
    client: dict[str, str]


def _parts(file: Path) -> tuple[str, str]:
    """The key and the certificate in a file."""
    key, begin_, rest = file.read_text().partition("-----BEGIN CERTIFICATE-----")
    return key, begin_ + rest


@pytest.fixture(scope="module")
def secured(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Secured:
    server = Postgres(installation.namespace, "secured")
    server.start()
    authority = Authority(tmp_path_factory.mktemp("authority"))
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "a stranger")
    key, certificate = _parts(authority.issue(server.host))
    client_key, client_certificate = _parts(authority.issue("client"))
    directory = server.psql("SHOW data_directory")
    files = {
        "server.key": key, "server.crt": certificate, "authority.crt": authority.pem,
        "pg_hba.conf": _HBA, "pg_ident.conf": _IDENT,
    }  # fmt: skip
    for name, text in files.items():
        kubectl(
            "-n", server.namespace, "exec", "-i", server.pod, "--",
            "sh", "-c", 'cat > "$0" && chmod 600 "$0"', f"{directory}/{name}", stdin=text,
        )  # fmt: skip
    server.psql(_ROLES)
    server.psql(_SETTINGS)
    # Its Service leads to it a moment later.
    wait_for(lambda: _is_reached(server), "the server behind its Service", 120)
    connection = {
        "host": server.host, "username": "scrambled", "password": "scrambled-password",
        "database": "postgres",
    }  # fmt: skip
    client = {"username": "certified", "tls.crt": client_certificate, "tls.key": client_key}
    return Secured(connection, authority.pem, stranger.pem, client)


def _is_reached(server: Postgres) -> bool:
    try:
        kubectl(
            "-n", server.namespace, "exec", server.pod, "--", "pg_isready", "-q", "-h", server.host
        )
    except ToolError:
        return False
    return True


def _uri(secured: Secured, parameters: str) -> str:
    said = secured.connection
    return f"postgres://{said['username']}:{said['password']}@{said['host']}/postgres?{parameters}"


def _server_verified(export: Attempted) -> list[str]:
    """What the export and its target say of the server, the target a moment later."""

    def look(kind: str, name: str) -> str | None:
        status = get("-n", export.namespace, kind, name).get("status", {})
        conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
        return conditions.get("ServerVerified")

    target = "target-" + "".join(c for c in export.project_id if c.isalnum())
    return [
        wait_for(lambda: look("bex", export.name), "the export's condition", 120),
        wait_for(lambda: look("ext", target), "the target's condition", 120),
    ]


def test_exports_that_are_good(installation: Installation, secured: Secured) -> None:
    namespace, base = installation.namespace, secured.connection
    # As a cloud's: many authorities, and the right one last.
    bundle = secured.stranger * (170_000 // len(secured.stranger)) + secured.authority
    exports: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
        "tls-unsaid": (base, {}, "False"),
        "tls-authority": (base | {"ca.crt": secured.authority}, {}, "True"),
        "tls-bundle": (base | {"sslrootcert": bundle}, {}, "True"),
        "tls-of-target": (base, {"sslrootcert": bundle}, "True"),
        "tls-uri": (
            base | {"sslrootcert": secured.authority, "uri": _uri(secured, "sslmode=verify-full")},
            {}, "True",
        ),
        "tls-client": (base | secured.client | {"ca.crt": secured.authority}, {}, "True"),
        "tls-preferred": (base, {"connection": {"sslmode": "prefer"}}, "False"),
        "tls-clear": (
            base | {"username": "clear", "password": "clear-password"}
            | {"uri": _uri(secured, "require_auth=password")},
            {}, "False",
        ),
    }  # fmt: skip
    begun = {
        name: begin(namespace, name, values, target)
        for name, (values, target, _) in exports.items()
    }
    for name, export in begun.items():
        status = export.ended()
        assert status["phase"] == "Succeeded", (name, status)
        verified = exports[name][2]
        assert _server_verified(export) == [verified, verified], name
    assert begun["tls-unsaid"].has_event("Warning", "ServerNotVerified")


def test_exports_that_are_refused(
    installation: Installation, connection: dict[str, str], secured: Secured
) -> None:
    namespace, base = installation.namespace, secured.connection
    unsaid = {key: value for key, value in connection.items() if key != "sslmode"}
    clear = base | {"username": "clear", "password": "clear-password"}
    exports = {
        # Beside keys that are enough without it.
        "no-uri": (base | {"uri": _uri(secured, "sslmode=verify-full")}, "certificate verify"),
        "no-stranger": (base | {"ca.crt": secured.stranger}, "certificate verify failed"),
        "no-tls": (unsaid, "does not support SSL"),
        "no-cleartext": (clear, "require_auth=password"),
        "no-certificate": (base | {"username": "certified"}, "add sslcert and sslkey"),
    }
    begun = {name: begin(namespace, name, values) for name, (values, _) in exports.items()}
    for name, export in begun.items():
        assert_failed_at_once(export, "AuthenticationFailed", exports[name][1])
