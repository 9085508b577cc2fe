"""A server of an older major version: its dump must go back into a server of that version."""

from collections.abc import Iterator

import pytest
from failing_exports import begin
from installation import Installation
from playground import demo_database
from playground.postgres import Postgres
from playground.restore import ExportsVolume

pytestmark = pytest.mark.cluster

_TABLES = """
CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
INSERT INTO parts (name) SELECT 'part ' || i FROM generate_series(1, 5000) AS i;
CREATE VIEW named AS SELECT id, upper(name) AS name FROM parts;
SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
"""
_SUMMARY = """
SELECT (SELECT md5(string_agg(n::text, ',' ORDER BY id)) FROM named AS n),
       (SELECT md5(string_agg(lo_get(oid)::text, ',' ORDER BY oid)) FROM pg_largeobject_metadata)
"""


@pytest.fixture(scope="module")
def old_server(installation: Installation) -> Iterator[Postgres]:
    server = Postgres(installation.namespace, "old", image="POSTGRES_15_IMAGE")
    server.start()
    server.psql("CREATE DATABASE parts")
    server.psql(_TABLES, "parts")
    server.psql(f"CREATE ROLE {demo_database.EXPORTER} LOGIN SUPERUSER")
    yield server
    server.stop()


def test_a_dump_of_an_older_server_goes_back_into_one(
    installation: Installation, old_server: Postgres
) -> None:
    assert old_server.psql("SHOW server_version").startswith("15.")
    connection = demo_database.exporter_connection(old_server, "parts")
    exports = [
        begin(installation.namespace, f"old-{dump_format}", connection, format=dump_format)
        for dump_format in ("sql", "tar")
    ]
    claim = f"{installation.release.name}-exports"
    volume = ExportsVolume(installation.namespace, claim, old_server, "old-exports-reader")
    volume.open()
    before = old_server.psql(_SUMMARY, "parts")
    for export in exports:
        status = export.ended()
        assert status["phase"] == "Succeeded", status
        artifact = status["artifact"]
        assert artifact["serverVersion"].startswith("15.")
        assert artifact["dumpVersion"].startswith("15.")
        volume.restore(artifact["path"], "restored")
        assert old_server.psql(_SUMMARY, "restored") == before
