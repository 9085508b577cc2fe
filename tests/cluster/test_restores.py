"""The commands that page, mail and chat print, typed for real files, whole and cut."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from backupexport_contract.restore_commands import file_name
from failing_exports import begin
from installation import Installation
from playground.tools import ToolError

pytestmark = pytest.mark.cluster

# As docs/exports.md wants it: who restores owns the database, is a member of what owns things in
# it, and is no superuser.
OWNER, READER, RESTORER, TARGET = "parts_owner", "parts_reader", "parts_restorer", "parts_restored"
_ROLES = f"""
CREATE ROLE {OWNER};
CREATE ROLE {READER} LOGIN PASSWORD :'password';
CREATE ROLE {RESTORER} LOGIN PASSWORD :'password';
GRANT pg_read_all_data TO {READER};
GRANT {OWNER} TO {RESTORER};
CREATE DATABASE parts OWNER {OWNER};
"""
_TABLES = f"""
SET ROLE {OWNER};
CREATE FUNCTION public.shout(name text) RETURNS text LANGUAGE sql AS $$ SELECT upper(name) $$;
CREATE TABLE public.parts (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO public.parts SELECT i, md5(i::text) FROM generate_series(1, 50000) AS i;
CREATE TABLE public.orders (id int PRIMARY KEY, part int REFERENCES public.parts);
INSERT INTO public.orders SELECT i, i FROM generate_series(1, 50000) AS i;
CREATE VIEW public.loud AS SELECT id, public.shout(name) AS name FROM public.parts;
"""
_CONTENT = "SELECT count(*), md5(string_agg(name, ',' ORDER BY id)) FROM public.loud"
_RELATIONS = (
    "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace "
    "AND relkind IN ('r', 'v')"
)


class Parts:
    """The database `parts`, and what a person in the reader's pod types to restore its exports."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.server = installation.server
        self._password = secrets.token_urlsafe(24)
        self.server.psql(_ROLES, "postgres", "-v", f"password={self._password}")
        self.server.psql(_TABLES, "parts")
        self.connection = {
            "host": self.server.host,
            "username": READER,
            "password": self._password,
            "database": "parts",
            "sslmode": "disable",
        }

    def empty_target(self) -> None:
        self.server.psql(f"DROP DATABASE IF EXISTS {TARGET} WITH (FORCE)")
        self.server.psql(f"CREATE DATABASE {TARGET} OWNER {RESTORER} TEMPLATE template0")
        self.server.psql(f"GRANT CREATE ON SCHEMA public TO {OWNER}", TARGET)

    def type_command(self, path: str, length: int) -> None:
        """Raises ToolError where the command of its manifest fails for the file's first bytes."""
        manifest = json.loads(self.installation.volume.run("cat", f"{path}.json"))
        command = manifest["restore_command"].replace("DATABASE", TARGET)
        self.installation.volume.run(
            "bash", "-c",
            f"export PGUSER={RESTORER} PGPASSWORD={self._password}\n"
            f"rm -rf /scratch/*; head -c {length} '{path}' > '/scratch/{file_name(path)}'\n"
            f"cd /scratch\n{command}",
            timeout=300,
        )  # fmt: skip


@pytest.fixture(scope="module")
def parts(installation: Installation) -> Iterator[Parts]:
    found = Parts(installation)
    yield found
    for database in ("parts", TARGET):
        found.server.psql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


@pytest.mark.parametrize("dump_format", ["sql", "tar", "custom"])
@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_all_of_a_file_is_restored_or_nothing(
    parts: Parts, dump_format: str, compression: str
) -> None:
    spec: dict[str, Any] = {"compress": compression != "none"}
    if compression != "none":
        spec["compression"] = compression
    project = f"parts-{dump_format}-{compression}"
    export = begin(
        parts.installation.namespace, project, parts.connection, format=dump_format, **spec
    )
    status = export.ended()
    assert status["phase"] == "Succeeded", status
    path, size = status["artifact"]["path"], status["artifact"]["sizeBytes"]
    parts.empty_target()
    for length in (size // 20, size // 2, size * 9 // 10, size - 2000, size - 5):
        # A tar that isn't compressed ends with a record of zeros, which nobody misses.
        if (dump_format, compression, length) == ("tar", "none", size - 5):
            continue
        with pytest.raises(ToolError):
            parts.type_command(path, length)
        assert parts.server.psql(_RELATIONS, TARGET) == "0", length
    parts.type_command(path, size)
    assert parts.server.psql(_CONTENT, TARGET) == parts.server.psql(_CONTENT, "parts")


def test_a_plain_dump_holds_psql_to_sql(parts: Parts) -> None:
    export = begin(
        parts.installation.namespace, "parts-plain", parts.connection, compress=False
    ).ended()
    assert export["phase"] == "Succeeded", export
    text = parts.installation.volume.run("head", "-n", "6", export["artifact"]["path"])
    assert "\n\\restrict " in text
    text = parts.installation.volume.run("tail", "-n", "4", export["artifact"]["path"])
    assert "\n\\unrestrict " in text
