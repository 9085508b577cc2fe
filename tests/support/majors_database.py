"""A database with a bit of everything that PostgreSQL 13 knows, and what is compared of two.

As docs/exports.md wants it: who restores is a member of what owns things, and no superuser.
"""

OWNER, READER, RESTORER, STRANGER = "majors_owner", "majors_reader", "majors_restorer", "stranger"
DATABASE = "majors"

ROLES = f"""
CREATE ROLE {OWNER};
CREATE ROLE {READER} LOGIN PASSWORD :'password';
CREATE ROLE {RESTORER} LOGIN PASSWORD :'password';
GRANT {OWNER} TO {RESTORER};
CREATE DATABASE {DATABASE} OWNER {OWNER};
"""

# Rows of the tables, large enough that COPY and sequences are exercised, small enough to be quick.
CONTENT = rf"""
SET ROLE {OWNER};
CREATE SCHEMA shop;
COMMENT ON SCHEMA shop IS E'It''s a shop; -- ''quoted''\nand more \\ 😀';
CREATE SCHEMA "odd ""schema"" -- 😀";

CREATE TYPE shop.mood AS ENUM ('fine', 'not "fine"', E'it''s\nover');
CREATE DOMAIN shop.price AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TYPE shop.address AS (street text, "house no." int);
CREATE TYPE shop.span AS RANGE (subtype = float8, subtype_diff = float8mi);

CREATE FUNCTION shop.shout(words text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $f$ SELECT upper(words) || '!; -- $$' $f$;
CREATE FUNCTION shop.stamp() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN NEW.note := coalesce(NEW.note, '') || '.'; RETURN NEW; END $$;
CREATE PROCEDURE shop.tidy(INOUT left_over int) LANGUAGE plpgsql
    AS $$ BEGIN DELETE FROM shop.orders WHERE false; left_over := 0; END $$;
CREATE AGGREGATE shop.product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');

CREATE TABLE shop.parts (
    id int GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 3) PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    price shop.price NOT NULL DEFAULT 1,
    loud text GENERATED ALWAYS AS (shop.shout(name)) STORED,
    feeling shop.mood, home shop.address, life shop.span, tags text[], grid int[][],
    raw bytea, doc jsonb, seen timestamptz, shown bit(5), where_from inet, weight float8,
    note text, CONSTRAINT "a ""check"" " CHECK (name <> E'\n')
);
CREATE TRIGGER stamped BEFORE INSERT ON shop.parts FOR EACH ROW EXECUTE FUNCTION shop.stamp();
INSERT INTO shop.parts (name, price, feeling, home, life, tags, grid, raw, doc, seen, shown,
    where_from, weight, note)
SELECT CASE WHEN i % 7 = 0 THEN E'a\tb\\n\n"\'' || i ELSE 'part ' || i END, i / 3.0,
    (enum_range(NULL::shop.mood))[1 + i % 3], ROW(E'Str\u00e4\u00dfe; --', i)::shop.address,
    shop.span(i, i + 0.5), ARRAY['{{', '"', NULL, 'NULL', '\.'], ARRAY[[i, 2], [3, 4]],
    decode(lpad(to_hex(i), 8, '0'), 'hex'), jsonb_build_object('i', i, 'ü😀', ARRAY[1.50, NULL]),
    '2020-02-29 12:00:00+01'::timestamptz + i * interval '1 hour', i::bit(5), '10.0.0.1',
    CASE i % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE sqrt(i) END,
    CASE WHEN i % 2 = 0 THEN '\.' END
FROM generate_series(1, 2000) AS i;
CREATE INDEX by_words ON shop.parts USING gin (doc);
CREATE UNIQUE INDEX "by ""loud"" " ON shop.parts (lower(name) DESC, price) INCLUDE (note)
    WHERE price > 0;
CREATE STATISTICS shop.of_parts ON name, price FROM shop.parts;

CREATE TABLE shop.orders (
    id bigserial, part int REFERENCES shop.parts ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    at date NOT NULL, PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE shop.orders_old PARTITION OF shop.orders FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE shop.orders_new PARTITION OF shop.orders FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)
    PARTITION BY LIST (at);
CREATE TABLE shop.orders_rest PARTITION OF shop.orders_new DEFAULT;
INSERT INTO shop.orders (part, at)
    SELECT 7 + 3 * (i % 500), '2019-06-01'::date + i FROM generate_series(1, 1000) AS i;

CREATE TABLE shop.secrets (word text);
INSERT INTO shop.secrets VALUES ('hush'), (''), (NULL);
CREATE TABLE shop.base (id int);
CREATE TABLE shop.derived (extra text) INHERITS (shop.base);
INSERT INTO shop.derived VALUES (1, 'one');
CREATE UNLOGGED TABLE shop.unlogged (id int);
INSERT INTO shop.unlogged VALUES (1);
ALTER TABLE shop.base ENABLE ROW LEVEL SECURITY;
CREATE POLICY "only ""ones"" " ON shop.base USING (id = 1);
CREATE RULE no_delete AS ON DELETE TO shop.secrets DO INSTEAD NOTHING;
CREATE TABLE public.plain (id int, "select" text DEFAULT 'from');
INSERT INTO public.plain VALUES (1, '--');

CREATE TABLE "odd ""schema"" -- 😀"."it's; -- a
table 😀" ("a ""column"" --
" int, " " text);
INSERT INTO "odd ""schema"" -- 😀"."it's; -- a
table 😀" VALUES (1, E'\u00a0😀\r\n');
COMMENT ON COLUMN "odd ""schema"" -- 😀"."it's; -- a
table 😀"." " IS E'line\n\\connect template1\n-- 😀';
CREATE TABLE shop."--file=/exports/x" (id int);
CREATE TABLE shop."$(id)" (id int);

CREATE SEQUENCE shop.used AS smallint INCREMENT -2 MINVALUE -100 MAXVALUE 100 START 50 CYCLE;
SELECT nextval('shop.used'), nextval('shop.used');
CREATE SEQUENCE shop.unused START 5;

CREATE VIEW shop.dear WITH (security_barrier) AS
    SELECT id, loud, (home)."house no." AS house FROM shop.parts WHERE price > 100
    WITH CASCADED CHECK OPTION;
CREATE VIEW shop.ranked AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n
    WHERE i < 3) SELECT i, rank() OVER w FROM n WINDOW w AS (ORDER BY i DESC);
CREATE MATERIALIZED VIEW shop.per_day AS
    SELECT at, count(*) AS orders FROM shop.orders GROUP BY at;
CREATE UNIQUE INDEX ON shop.per_day (at);
CREATE MATERIALIZED VIEW shop.never AS SELECT 1 AS one WITH NO DATA;

SELECT lo_create(4711), lo_put(4711, 0, decode(repeat('00ff', 50000), 'hex'));
SELECT lo_from_bytea(4712, '');
COMMENT ON LARGE OBJECT 4711 IS 'a picture; --';

GRANT USAGE ON SCHEMA shop, "odd ""schema"" -- 😀" TO {READER};
GRANT SELECT ON ALL TABLES IN SCHEMA public, shop, "odd ""schema"" -- 😀" TO {READER};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA shop TO {READER};
GRANT SELECT ON LARGE OBJECT 4711, 4712 TO {READER};
GRANT UPDATE (note) ON shop.parts TO {READER} WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION shop.shout(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shop.shout(text) TO {READER};
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO {READER};
RESET ROLE;
-- A policy hides rows from all but such a role, and pg_dump refuses to leave them out.
ALTER ROLE {READER} BYPASSRLS;
"""

# A line for all that is there, with a hash of what it holds.
SUMMARY = r"""
SET search_path = '';
SET timezone = 'UTC';
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C")) '
              'FROM ONLY %s AS t', oid::regclass, oid::regclass)
FROM pg_class WHERE relkind IN ('r', 'm') AND relispopulated
    AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY oid::regclass::text COLLATE "C" \gexec
SELECT format('SELECT %L, last_value, is_called FROM %s', oid::regclass, oid::regclass)
FROM pg_class WHERE relkind = 'S' ORDER BY oid::regclass::text COLLATE "C" \gexec
SELECT oid, lomowner::regrole, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid;
SELECT c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class AS c WHERE relkind IN ('v', 'm')
    AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
ORDER BY c.oid::regclass::text COLLATE "C";
SELECT oid::regprocedure, pg_get_functiondef(oid) FROM pg_proc WHERE prokind IN ('f', 'p')
    AND pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
ORDER BY oid::regprocedure::text COLLATE "C";
"""

# Which ordinary tables there are, and how many rows each has.
TABLES = r"""
SET search_path = '';
SELECT format('SELECT %L, count(*) FROM ONLY %s', oid::regclass, oid::regclass)
FROM pg_class WHERE relkind = 'r'
    AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
ORDER BY oid::regclass::text COLLATE "C" \gexec
"""
