"""What a restore of the file needs, as hints beside the printed command, from the catalogs."""

import math
from collections.abc import Iterator, Mapping

from backupexport_contract.runner_protocol import Remark, Selection

from backupexport_runner.postgres.catalogs import Catalogs, Found, listed

# The providers of locales, by the letters of pg_database.datlocprovider.
_LIBC, _ICU, _BUILTIN = "c", "i", "b"
# A server's defaults: it has room for the product of both, and a little more
# (https://www.postgresql.org/docs/current/runtime-config-locks.html).
_LOCKS_PER_TRANSACTION, _CONNECTIONS = 64, 100

_USED = "what views, columns' types and foreign keys use outside of the file, or a restore stops"


def restore_hints(catalogs: Catalogs, selection: Selection) -> tuple[Remark, ...]:
    """Returns what is to be done beside the printed command, what stops a restore first."""
    hints: list[Remark] = []
    hints += _of_the_choice(selection)
    if selection.content != "data":
        hints += _extensions(catalogs, selection)
        hints += _roles(catalogs, selection)
        hints += _made_by_superusers(catalogs, selection)
    if selection.content != "schema":
        hints += _materialized_views(catalogs)
        hints += _row_functions(catalogs)
    if selection.content != "data":
        hints += _locale(catalogs)
    hints += _locks(catalogs)
    return tuple(hints)


def _of_the_choice(selection: Selection) -> Iterator[Remark]:
    if selection.content == "data":
        yield Remark(
            "data_only",
            "The file has rows alone: DATABASE must have the empty tables already, whose triggers "
            "fire and whose foreign keys are checked as rows come, unless a superuser runs export "
            "PGOPTIONS='-c session_replication_role=replica' before the printed command.",
        )
    elif selection.include_tables:
        yield Remark(
            "included",
            "The file doesn't make the schemas of the included tables: make those but public in "
            f"DATABASE first, and {_USED}.",
        )
    elif selection.include_schemas:
        yield Remark(
            "included",
            "The file makes the schemas that are in it: where public is one of them, run DROP "
            "SCHEMA public; in DATABASE first, which a new database has already, and GRANT USAGE "
            f"ON SCHEMA public TO PUBLIC; after the restore. DATABASE needs first {_USED}.",
        )
    rows = selection.exclude_table_data if selection.content != "schema" else ()
    if selection.exclude_schemas or selection.exclude_tables or rows:
        yield Remark(
            "excluded",
            "A restore stops where a view, a column's type or a foreign key (also by its rows) "
            "uses what is excluded: exclude that, too, or have in DATABASE first what is missing.",
        )


def literal(text: str) -> str:
    """Returns the text as SQL spells it."""
    return "'" + text.replace("'", "''") + "'"


def _extensions(catalogs: Catalogs, selection: Selection) -> Iterator[Remark]:
    found = catalogs.found("extensions")
    versions = dict(found.objects)
    if timescaledb := versions.get("timescaledb"):
        yield Remark(
            "timescaledb",
            "Hypertables go back only between two calls, each in a session of its own: before the "
            "printed command, in DATABASE, CREATE EXTENSION timescaledb VERSION "
            f"{literal(timescaledb)}; SELECT timescaledb_pre_restore(); and after it SELECT "
            "timescaledb_post_restore();",
        )
    if postgis := versions.get("postgis"):
        yield Remark(
            "postgis",
            f"The target's server needs PostGIS of the same minor version ({postgis}); where who "
            "restores is no superuser, a superuser runs CREATE EXTENSION postgis; in DATABASE "
            "first.",
        )
    if found.total:
        extensions = found.listed(lambda name, version: f"{name} {version}")
        how = (
            "the file doesn't make them, so CREATE EXTENSION what the included objects use first"
            if selection.is_chosen
            else "the file makes them, in the version that is the server's default"
        )
        yield Remark(
            "extensions",
            f"These extensions must be installed on the target's server; {how}: {extensions}.",
        )


def _roles(catalogs: Catalogs, selection: Selection) -> Iterator[Remark]:
    of_kinds = {
        "own objects": catalogs.found("owners") if selection.owner else Found(),
        "hold grants": catalogs.found("grantees") if selection.privileges else Found(),
        "are named in policies": catalogs.found("roles_in_policies"),
        # They belong to foreign servers, which have no schema.
        "have user mappings": (
            Found() if selection.is_chosen else catalogs.found("roles_of_user_mappings")
        ),
    }
    kinds = [kind for kind, found in of_kinds.items() if found.total]
    if not kinds:
        return
    names = sorted({_role(*each) for found in of_kinds.values() for each in found.objects})
    # A role may be of several kinds, of which only the first ten are known.
    total = max(len(names), *(found.total for found in of_kinds.values()))
    yield Remark(
        "missing_roles",
        f"Roles that {_either(kinds)} must exist on the target's server, for the file doesn't make "
        f"them: {listed(names, total)}.",
    )


def _role(name: str, whose: str) -> str:
    # The name itself is hidden where it comes from the target's Secret.
    return f"{name} (the export's own role)" if whose == "own" else name


def _either(kinds: list[str]) -> str:
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)


def _made_by_superusers(catalogs: Catalogs, selection: Selection) -> Iterator[Remark]:
    if (found := catalogs.found("tablespaces")).total:
        yield Remark(
            "tablespaces",
            "Tablespaces must exist on the target's server, unless the file is an archive and "
            "pg_restore gets --no-tablespaces: "
            f"{found.listed()}.",
        )
    if not selection.is_chosen and (found := catalogs.found("event_triggers")).total:
        yield Remark(
            "event_triggers",
            "Only a superuser can restore event triggers: be one in a scratch instance that holds "
            "nothing else. They then fire while the restore fills materialized views, and the "
            "printed command takes all back where one fails: "
            f"{found.listed()}.",
        )


def _materialized_views(catalogs: Catalogs) -> Iterator[Remark]:
    if (found := catalogs.found("materialized_views")).total:
        uses = found.listed(lambda view, function: f"{view} by {function}")
        yield Remark(
            "materialized_view_search_path",
            "A restore fills materialized views with an empty search_path, and stops where a "
            "function in one names anything without its schema; ALTER FUNCTION … SET search_path "
            f"before the export helps: {uses}.",
        )


def _locks(catalogs: Catalogs) -> Iterator[Remark]:
    count = catalogs.found("locks").total
    needed = math.ceil(count / _CONNECTIONS)
    if needed > _LOCKS_PER_TRANSACTION:
        yield Remark(
            "locks",
            f"In one transaction a restore of the whole database locks some {count} objects, such "
            "as tables, their indexes and large objects: the target's server needs "
            f"max_locks_per_transaction of at least {needed} (where its max_connections is "
            f"{_CONNECTIONS}), or leave --single-transaction out of the printed command and drop "
            "DATABASE where it fails.",
        )


def _row_functions(catalogs: Catalogs) -> Iterator[Remark]:
    if (found := catalogs.found("row_functions")).total:
        uses = found.listed(lambda used_in, function: f"{used_in} by {function}")
        yield Remark(
            "function_search_path",
            "A restore checks rows, computes columns and builds indexes with an empty search_path, "
            "and stops where a function in one names anything without its schema, which ALTER "
            "FUNCTION … SET search_path before the export helps, or reads a table whose rows come "
            f"later, which a constraint that is NOT VALID avoids: {uses}.",
        )


def _locale(catalogs: Catalogs) -> Iterator[Remark]:
    values = dict(catalogs.found("locale").objects)
    if not {"encoding", "datcollate", "datctype"} <= values.keys():
        return
    yield Remark(
        "locale",
        f"The database was made as CREATE DATABASE … TEMPLATE template0 {_making(values)}; text "
        "goes into no other encoding safely, and sorts otherwise in another locale.",
    )


def _making(values: Mapping[str, str]) -> str:
    collate, ctype = values["datcollate"], values["datctype"]
    same = [f"LOCALE {literal(collate)}"]
    options = same if collate == ctype else [
        f"LC_COLLATE {literal(collate)}", f"LC_CTYPE {literal(ctype)}"
    ]  # fmt: skip
    # daticulocale in 15 and 16.
    own = literal(values.get("datlocale") or values.get("daticulocale") or "")
    provider = values.get("datlocprovider", _LIBC)
    if provider == _ICU:
        options += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {own}"]
        if rules := values.get("daticurules"):
            options.append(f"ICU_RULES {literal(rules)}")
    elif provider == _BUILTIN:
        options += ["LOCALE_PROVIDER builtin", f"BUILTIN_LOCALE {own}"]
    return " ".join([f"ENCODING {literal(values['encoding'])}", *options])
