"""What a database's owner may leave in it for whoever reads it: traps that log who ran them.

Where a statement leaves open which operator, function, cast, type or relation it means, one of
these is found, since the database's own search_path names the owner's schemas first.  A trap
writes into the server's log, which outlives a transaction that is rolled back or only reads.
"""

from collections.abc import Sequence

from backupexport_runner.postgres import statements

# Every statement that the runner itself sends, by its name there.
QUERIES = {
    name: value
    for name, value in vars(statements).items()
    if isinstance(value, str) and name.isupper() and not name.startswith("_")
}

SPRUNG = "a trap was sprung"

OWNER, READER = "hostile_owner", "careful_reader"

# Needs psql's variables `reader_password` and `database`, and a superuser, who makes the roles;
# all that follows is the owner's own doing.
ROLES = f"""
CREATE ROLE {OWNER} LOGIN;
CREATE ROLE {READER} LOGIN PASSWORD :'reader_password';
GRANT pg_read_all_data TO {READER};
CREATE DATABASE :"database" OWNER {OWNER};
"""

# Types of which every pair gets operators: PostgreSQL itself has few that mix two types, and so an
# exact match of the owner's wins wherever his schema stands.
_TYPES = ["name", "text", "varchar", "bpchar", '"char"', "oid", "regclass", "int4", "int8", "bool"]
_OPERATORS = ["=", "<>", "<", ">", "~", "!~", "||", "+", "*"]

# PostgreSQL's own operators, functions and relations again, under the same names; types whose
# every value runs a function; casts.  What can't be made so (for internal types) is left out.
_PLANT = r"""
SET search_path = '';
DO $plant$
DECLARE
    home pg_catalog.text := '{schema}';
    one pg_catalog.record;
    number pg_catalog.int4 := 0;
    body pg_catalog.text;
    warning pg_catalog.text := 'RAISE LOG ''{sprung}: %'', ';
BEGIN
    EXECUTE format('CREATE FUNCTION %I.trap(pg_catalog.anyelement) RETURNS pg_catalog.bool '
        'LANGUAGE plpgsql AS $$BEGIN %s ''type or relation''; RETURN true; END$$', home, warning);
    FOR one IN
        SELECT o.oprname, o.oprleft, o.oprright, o.oprresult FROM pg_catalog.pg_operator o
         WHERE o.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace AND o.oprresult <> 0
        UNION
        SELECT o, l::pg_catalog.regtype, r::pg_catalog.regtype,
               CASE WHEN o IN ('||', '+', '*') THEN 'pg_catalog.text'
               ELSE 'pg_catalog.bool' END::pg_catalog.regtype
          FROM unnest('{operators}'::pg_catalog.text[]) o,
               unnest('{types}'::pg_catalog.text[]) l, unnest('{types}'::pg_catalog.text[]) r
    LOOP
        BEGIN
            number := number + 1;
            EXECUTE format('CREATE FUNCTION %I.trap_%s(%s) RETURNS %s LANGUAGE plpgsql AS '
                '$$BEGIN %s %L; RETURN NULL; END$$', home, number,
                concat_ws(', ', nullif(one.oprleft, 0)::pg_catalog.regtype,
                          nullif(one.oprright, 0)::pg_catalog.regtype),
                one.oprresult::pg_catalog.regtype, warning, 'operator ' || one.oprname);
            EXECUTE format('CREATE OPERATOR %I.%s (FUNCTION = %I.trap_%s, %s)', home, one.oprname,
                home, number, concat_ws(', ',
                    'LEFTARG = ' || nullif(one.oprleft, 0)::pg_catalog.regtype,
                    'RIGHTARG = ' || nullif(one.oprright, 0)::pg_catalog.regtype));
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    -- An aggregate as a plain function: the same name and arguments are enough.
    FOR one IN
        SELECT p.proname, p.proretset, p.prorettype::pg_catalog.regtype AS result,
               array_to_string(p.proargtypes::pg_catalog.regtype[], ', ') AS arguments
          FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
         UNION ALL
        SELECT name, false, 'pg_catalog.text', arguments
          FROM (VALUES ('format', 'text, name, name'), ('coalesce', 'numeric, int4'),
                       ('nullif', 'oid, int4')) more(name, arguments)
    LOOP
        BEGIN
            body := warning || quote_literal('function ' || one.proname) || ';';
            EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS '
                '$$BEGIN %s RETURN %s; END$$', home, one.proname, one.arguments,
                CASE WHEN one.proretset THEN 'SETOF' END, one.result, body,
                CASE WHEN NOT one.proretset THEN 'NULL' END);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOREACH body IN ARRAY ARRAY['regclass', 'name', 'text', 'oid', 'char', 'int8', 'bool'] LOOP
        EXECUTE format('CREATE DOMAIN %I.%I AS pg_catalog.%I CHECK (%I.trap(VALUE))',
            home, body, body, home);
    END LOOP;
    EXECUTE format('CREATE TYPE %I.pair AS (a pg_catalog.text)', home);
    FOREACH body IN ARRAY ARRAY['name', 'oid', 'char', 'text', 'int8'] LOOP
        EXECUTE format('CREATE FUNCTION %I.cast_%s(pg_catalog.%I) RETURNS %I.pair '
            'LANGUAGE plpgsql AS $$BEGIN %s ''cast''; RETURN NULL; END$$',
            home, body, body, home, warning);
        EXECUTE format('CREATE CAST (pg_catalog.%I AS %I.pair) WITH FUNCTION '
            '%I.cast_%s(pg_catalog.%I) AS IMPLICIT', body, home, home, body, body);
    END LOOP;
    FOR one IN
        SELECT c.relname FROM pg_catalog.pg_class c
         WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v')
    LOOP
        BEGIN
            EXECUTE format('CREATE VIEW %I.%I AS SELECT * FROM pg_catalog.%I WHERE %I.trap(1)',
                home, one.relname, one.relname, home);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END
$plant$;
"""

# One of each kind that the runner asks for and an owner may make, since a statement that finds
# nothing calls little.
_OBJECTS = f"""
COMMENT ON DATABASE :"database" IS 'planted';
GRANT CREATE ON DATABASE :"database" TO {READER};
CREATE EXTENSION hstore WITH SCHEMA public;
CREATE PUBLICATION planted;
SELECT lo_create(815);
GRANT SELECT ON LARGE OBJECT 815 TO {READER};
CREATE UNLOGGED TABLE public.fleeting (id int);
GRANT SELECT ON public.fleeting TO {READER};
CREATE POLICY planted ON public.fleeting TO {READER} USING (true);
CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE MATERIALIZED VIEW public.filled AS SELECT public.one();
"""

# The rest of what an owner says about a session in his database.
_SETTINGS = """
CREATE TABLE public.kept AS SELECT generate_series(1, 100) AS id;
ALTER DATABASE :"database" SET search_path = "$user", public, pg_catalog;
ALTER DATABASE :"database" SET default_transaction_isolation = serializable;
ALTER DATABASE :"database" SET default_transaction_deferrable = on;
ALTER DATABASE :"database" SET client_min_messages = debug5;
ALTER DATABASE :"database" SET client_encoding = LATIN1;
"""

# What finds every kind of trap where nothing is done against it.
CARELESS = {
    "operator": "SELECT 'a'::pg_catalog.name = 'b'::pg_catalog.text",
    "operator of two types": "SELECT 1::pg_catalog.oid = 0",
    "operator behind IN": "SELECT 'r'::pg_catalog.\"char\" IN ('r', 'p')",
    "function": "SELECT quote_ident('a'::pg_catalog.text)",
    "aggregate": "SELECT sum(1::pg_catalog.int8)",
    "type": "SELECT 1::regclass",
    "relation": "SELECT relname FROM pg_class LIMIT 1",
}


def planting(schemas: Sequence[str] = (READER, "public")) -> str:
    """SQL for psql, with its variable `database`, to be run in the database as its owner."""
    traps = "".join(
        _PLANT.replace("{schema}", schema)
        .replace("{sprung}", SPRUNG)
        .replace("{operators}", _array(_OPERATORS))
        .replace("{types}", _array(_TYPES))
        for schema in schemas
    )
    home = f"CREATE SCHEMA {READER};\nGRANT USAGE ON SCHEMA {READER} TO PUBLIC;"
    return f"{_OBJECTS}{_SETTINGS}\n{home}\n{traps}"


def _array(texts: Sequence[str]) -> str:
    return "{" + ",".join('"' + text.replace('"', '\\"') + '"' for text in texts) + "}"
