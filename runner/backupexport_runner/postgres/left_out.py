"""What a complete export leaves out, as sentences, from what the catalogs say.

It follows what pg_dump does (https://www.postgresql.org/docs/current/app-pgdump.html): without
--create nothing of the database itself, with a chosen schema or table nothing that has none, and
never the rows of foreign tables and of most tables of extensions.  Where pg_dump fails, as at a
large object that the role can't read, nothing is complete, and nothing is said here.
"""

from collections.abc import Iterator

from backupexport_contract.runner_protocol import Remark, Selection

from backupexport_runner.postgres.catalogs import Catalogs
from backupexport_runner.postgres.restore_needs import literal

LEFT_OUT = "objects_left_out"
NO_TABLES = "no_tables"
PARTITIONS = "partitions"
NOT_LOOKED = "not_looked"

# Somebody who needs the file later had better know now that the Secret names the wrong database.
_NO_TABLES = (
    "The database has no tables, views or sequences, so the file has none: check that the "
    "ExportTarget names the database that was meant."
)


def warnings(
    catalogs: Catalogs, selection: Selection, *, reaches_partitions: bool
) -> tuple[Remark, ...]:
    """Returns one remark for each kind of objects that the export leaves out.

    `reaches_partitions` says whether a pattern for a table is one for its partitions, too.
    """
    sentences: list[str] = []
    if selection.is_chosen:
        sentences += _beside_the_chosen(catalogs, selection)
    if selection.content != "data":
        sentences += _of_the_database(catalogs, selection)
        if not selection.is_chosen:
            sentences += _hidden_from_the_role(catalogs)
    if selection.content != "schema":
        sentences += _rows(catalogs)
    remarks = [Remark(LEFT_OUT, sentence) for sentence in sentences]
    if catalogs.has_none("relations"):
        remarks.insert(0, Remark(NO_TABLES, _NO_TABLES))
    if not reaches_partitions:
        remarks += [Remark(PARTITIONS, sentence) for sentence in _partitions(catalogs, selection)]
    if catalogs.problem:
        remarks.append(Remark(NOT_LOOKED, _not_looked(catalogs.problem)))
    return tuple(remarks)


def _not_looked(problem: str) -> str:
    return (
        "Some catalogs could not be read, so there may be more that the file leaves out or that a "
        f"restore needs: {problem}"
    )


def _beside_the_chosen(catalogs: Catalogs, selection: Selection) -> Iterator[str]:
    kinds = []
    if selection.content != "schema" and (count := catalogs.found("large_objects").total):
        kinds.append(f"large objects ({count})")
    if selection.content != "data":
        kinds += [
            f"{kind.replace('_', ' ')} ({found.listed()})"
            for kind in (
                "extensions", "foreign_servers", "publications", "subscriptions", "event_triggers"
            )
            if (found := catalogs.found(kind)).total
        ]  # fmt: skip
    beside = f", such as {'; '.join(kinds)}," if kinds else ""
    yield (
        "Only the included schemas and tables are in the file: what belongs to no schema"
        f"{beside} is not, and of what they depend on only what is included, too."
    )


def _partitions(catalogs: Catalogs, selection: Selection) -> Iterator[str]:
    of_tables = selection.include_tables, selection.exclude_tables, selection.exclude_table_data
    if any(of_tables) and (found := catalogs.found("parents")).total:
        yield (
            "A pattern of tables names a parent without its partitions and heirs, which are in the "
            "file, or not, as patterns name them, too (orders* names all that begin so): "
            f"{found.listed()}."
        )


def _of_the_database(catalogs: Catalogs, selection: Selection) -> Iterator[str]:
    if (found := catalogs.found("database_settings")).total:
        yield (
            "The database's settings are not in the file; psql's \\drds shows their values, and "
            f"ALTER DATABASE … SET makes them again: {found.listed(_setting)}."
        )
    if selection.privileges and (found := catalogs.found("database_grants")).total:
        yield (
            "Grants on the database itself are not in the file; GRANT … ON DATABASE … makes them "
            f"again: {found.listed(lambda role, granted: f'{role} ({granted})')}."
        )
    for _, comment in catalogs.found("database_comment").objects:
        yield (
            "The database's comment is not in the file: "
            f"COMMENT ON DATABASE … IS {literal(comment)};"
        )
    if (found := catalogs.found("database_security_labels")).total:
        labels = found.listed(lambda provider, label: f"{provider}: {label}")
        yield (
            "Security labels on the database itself are not in the file; SECURITY LABEL … ON "
            f"DATABASE makes them again: {labels}."
        )


def _setting(setting: str, role: str) -> str:
    return f"{setting} (of role {role})" if role else setting


def _hidden_from_the_role(catalogs: Catalogs) -> Iterator[str]:
    found = catalogs.found("subscriptions")
    if any(is_superuser == "off" for _, is_superuser in found.objects):
        yield (
            "Subscriptions are not in the file, because only a superuser may dump them: "
            f"{found.listed()}."
        )
    if (found := catalogs.found("user_mappings")).total:
        mappings = found.listed(lambda user, server: f"{user} on {server}")
        yield (
            "The options of user mappings, such as passwords, are not in the file where the "
            f"export's role may not see them: {mappings}."
        )


def _rows(catalogs: Catalogs) -> Iterator[str]:
    if (found := catalogs.found("foreign_tables")).total:
        yield (
            "Rows of foreign tables are not in the file, since they are on another server: "
            f"{found.listed()}."
        )
    if (found := catalogs.found("unlogged_tables")).total:
        yield (
            "Rows of unlogged tables are not in the file, because the server is a standby, which "
            f"has none: {found.listed()}."
        )
    if (found := catalogs.found("extension_tables")).total:
        tables = found.listed(lambda table, extension: f"{table} of {extension}")
        yield (
            "Rows of tables that belong to an extension, and are not registered as its "
            f"configuration, are not in the file: {tables}."
        )
