"""Secrets and URIs as people have them, against a real server in another namespace."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pgbouncer
import pytest
from failing_exports import (
    Attempted,
    assert_failed_at_once,
    assert_tried_again_and_failed,
    begin,
)
from installation import SMALL, Installation
from playground.tools import kubectl

pytestmark = pytest.mark.cluster

# What a database that takes no connections, and a role without one left, are made of.
_CLOSED = """
CREATE DATABASE forms_closed ALLOW_CONNECTIONS false;
CREATE ROLE forms_crowded LOGIN PASSWORD 'forms-crowded' CONNECTION LIMIT 0;
"""
# More of them, and logins run out of time on a small node, which costs attempts.
_AT_ONCE = 4
_PLAIN_TLS: dict[str, Any] = {"connection": {"sslmode": "disable"}}


@pytest.fixture(scope="module")
def begun(installation: Installation, connection: dict[str, str]) -> dict[str, Attempted]:
    """An export of each form, some at a time."""
    server = installation.server
    assert server.namespace != installation.namespace
    user, password = (quote(connection[key], safe="") for key in ("username", "password"))
    host, login = server.host, f"{user}:{password}"
    # As the server's own namespace knows it: in the tests' there is nobody of that name.
    short, qualified = server.name, f"{server.name}.{server.namespace}"
    cloudnativepg = {
        "dbname": SMALL,
        "host": short,
        "port": "5432",
        "user": connection["username"],
        "username": connection["username"],
        "password": connection["password"],
        "pgpass": f"{short}:5432:{SMALL}:{connection['username']}:{connection['password']}\n",
    }
    uri = f"postgresql://{login}@{{}}:5432/{SMALL}"
    whole = uri.format(f"{qualified}.svc.cluster.local")
    alone = {"username": connection["username"], "password": connection["password"]}
    said = {"host": host, "port": 5432, "database": SMALL, "sslmode": "disable"}
    forms: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
        "cloudnativepg": ({**cloudnativepg, "uri": uri.format(qualified)}, _PLAIN_TLS),
        "cloudnativepg-fqdn": (
            {**cloudnativepg, "uri": uri.format(short), "fqdn-uri": whole}, _PLAIN_TLS,
        ),
        "user-and-password": (alone, {"connection": said}),
        "primary": (alone, {"connection": {**said, "targetSessionAttrs": "primary"}}),
        "newlines": ({key: f"{value}\n" for key, value in connection.items()}, {}),
        "newline-of-uri": ({"uri": uri.format(host) + "?sslmode=disable\n"}, {}),
        "several-hosts": (
            {"uri": f"postgres://{login}@{host}:1,{host}:5432/{SMALL}?sslmode=disable"}, {},
        ),
        "only-parameters": (
            {"uri": f"postgresql://?host={host}&user={user}&password={password}&dbname={SMALL}"
                    "&sslmode=disable"}, {},
        ),
        "keywords": (
            {"uri": f"host={host} user={connection['username']} dbname={SMALL} sslmode=disable "
                    f"password='{connection['password']}'"}, {},
        ),
        "encoded": (
            {"uri": f"postgresql://{login}@{quote(host).replace('.', '%2E')}/%73mall"
                    "?sslmode=%64isable"}, {},
        ),
        "jdbc": (
            {"uri": f"jdbc:postgresql://{host}:5432/{SMALL}?user={user}&password={password}"
                    "&currentSchema=public&prepareThreshold=0&sslmode=disable"}, {},
        ),
        "sqlalchemy": (
            {"uri": f"postgresql+asyncpg://{login}@{host}/{SMALL}?ssl=disable"}, {},
        ),
        "prisma": (
            {"uri": f"{uri.format(host)}?schema=public&connection_limit=1&pgbouncer=true"
                    "&sslmode=disable"}, {},
        ),
    }  # fmt: skip
    server.psql(_CLOSED)
    namespace = installation.namespace
    pooler = f"postgresql://{login}@{pgbouncer.start(namespace, connection)}:{pgbouncer.PORT}"
    forms["pool-of-sessions"] = (
        {"uri": f"{pooler}/{pgbouncer.SESSION}?sslmode=disable"}, {},
    )  # fmt: skip
    refused: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
        "standby": (alone, {"connection": {**said, "targetSessionAttrs": "standby"}}),
        "options": ({"uri": f"{uri.format(host)}?options=-c%20geqo%3Doff", **alone}, {}),
        "socket": (
            {"uri": f"postgresql://{login}@%2Fvar%2Frun%2Fpostgresql/{SMALL}", **alone}, {},
        ),
        "pooler": (
            {"uri": f"{pooler}/{pgbouncer.TRANSACTION}?pgbouncer=true&sslmode=disable", **alone},
            {},
        ),
        "closed": ({**connection, "database": "forms_closed"}, {}),
        "crowded": (
            {**connection, "username": "forms_crowded", "password": "forms-crowded"}, {},
        ),
    }  # fmt: skip
    exports: dict[str, Attempted] = {}
    waiting = [*forms.items(), *refused.items()]
    while waiting:
        now, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        more = {name: begin(namespace, f"form-{name}", *form) for name, form in now}
        exports |= more
        for export in more.values() if waiting else ():
            export.ended()
    return exports


Log = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def log_of(begun: dict[str, Attempted]) -> Log:
    """The log of a form's export, as its lines' fields."""

    def read(name: str) -> list[dict[str, Any]]:
        export = begun[name]
        text = kubectl("-n", export.namespace, "logs", f"job/{export.job_name}", "--tail=-1")
        return [json.loads(line) for line in text.splitlines()]

    return read


@pytest.mark.parametrize(
    "name",
    [
        "cloudnativepg", "cloudnativepg-fqdn", "user-and-password", "primary", "newlines",
        "newline-of-uri", "several-hosts", "only-parameters", "keywords", "encoded", "jdbc",
        "sqlalchemy", "prisma", "pool-of-sessions",
    ],
)  # fmt: skip
def test_a_form_that_is_taken(begun: dict[str, Attempted], name: str) -> None:
    status = begun[name].ended()
    assert status["phase"] == "Succeeded", status
    assert status["attempts"] == 1


def test_parameters_of_other_drivers_are_named_in_the_log(
    begun: dict[str, Attempted], log_of: Log
) -> None:
    for name, expected in (
        ("jdbc", "currentSchema, prepareThreshold"),
        ("prisma", "schema, connection_limit, pgbouncer"),
    ):
        begun[name].ended()
        said = [line["names"] for line in log_of(name) if line["event"] == "uri_parameters_ignored"]
        assert said == [expected]


def test_a_form_that_is_refused_is_named(begun: dict[str, Attempted]) -> None:
    assert_failed_at_once(begun["options"], "SecretInvalid", "the parameter options", "remove it")
    assert_failed_at_once(begun["socket"], "SecretInvalid", "neither a host name nor an IP")


def test_a_pooler_in_transaction_mode_is_refused_before_pg_dump_runs(
    begun: dict[str, Attempted], log_of: Log
) -> None:
    assert_failed_at_once(
        begun["pooler"], "SecretInvalid", "pooler in transaction mode",
        r"the server itself \(its own port is 5432\)",
    )  # fmt: skip
    assert [line["event"] for line in log_of("pooler")] == ["uri_parameters_ignored", "failed"]


def test_a_database_that_takes_no_connections(begun: dict[str, Attempted]) -> None:
    assert_failed_at_once(begun["closed"], "DatabaseNotFound", "ALLOW_CONNECTIONS")


def test_a_user_without_a_connection_left_is_tried_again(begun: dict[str, Attempted]) -> None:
    assert_tried_again_and_failed(
        begun["crowded"], "ConnectionFailed", "no connection left", "the limit of the user"
    )


def test_no_server_that_target_session_attrs_asks_for(begun: dict[str, Attempted]) -> None:
    assert_tried_again_and_failed(begun["standby"], "ConnectionFailed", "targetSessionAttrs")
