SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET TimeZone = 'UTC';

DO $$ BEGIN
  IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
    RAISE EXCEPTION 'this database must be encoded in UTF8, it is %', getdatabaseencoding()
      USING HINT = 'CREATE DATABASE demo TEMPLATE template0 ENCODING ''UTF8''';
  END IF;
END $$;

CREATE SCHEMA ext;
COMMENT ON SCHEMA ext IS 'extensions only, so that the owners of data need no rights on them';
GRANT USAGE ON SCHEMA ext TO PUBLIC;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION btree_gist SCHEMA ext;

CREATE SCHEMA shop AUTHORIZATION shop_owner;
CREATE SCHEMA audit AUTHORIZATION shop_owner;
CREATE SCHEMA hr AUTHORIZATION hr_owner;
CREATE SCHEMA lab AUTHORIZATION shop_owner;
CREATE SCHEMA "Straße & Söhne" AUTHORIZATION shop_owner;
CREATE SCHEMA "say ""hi""" AUTHORIZATION shop_owner;
GRANT USAGE ON SCHEMA shop, lab TO hr_owner;

SET ROLE shop_owner;

-- The restore runs with an empty search_path: everything that is evaluated while rows are loaded
-- or indexes are built (checks, generated columns, index expressions, materialised views) names
-- its schemas.

CREATE COLLATION lab.code_point (provider = builtin, locale = 'C.UTF-8');
SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS has_icu \gset
\if :has_icu
  CREATE COLLATION lab.caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  CREATE TABLE lab.caseless_words (word text COLLATE lab.caseless PRIMARY KEY);
  INSERT INTO lab.caseless_words VALUES ('Straße'), ('ÄPFEL'), ('birne');
\endif

CREATE TYPE shop.order_state AS ENUM
  ('new', 'paid', 'packed', 'shipped', 'returned', 'it''s gone', 'Müll 🗑');
ALTER TYPE shop.order_state ADD VALUE 'on hold' BEFORE 'packed';
CREATE TYPE shop.address AS (
  street text, house_no text, postcode text, city text, country character(2), geo point);
CREATE DOMAIN shop.email AS ext.citext
  CONSTRAINT looks_like_mail CHECK (VALUE OPERATOR(ext.~) '^[^@[:space:]]+@[^@[:space:]]+$');
CREATE DOMAIN shop.amount AS numeric(12, 2) DEFAULT 0 CONSTRAINT not_negative CHECK (VALUE >= 0);
CREATE DOMAIN shop.postal_address AS shop.address
  CONSTRAINT has_country CHECK ((VALUE).country IS NOT NULL);
CREATE TYPE lab.float_range AS RANGE (
  subtype = float8, subtype_diff = float8mi, multirange_type_name = lab.float_multirange);
CREATE TYPE lab."Mixed Case" AS ENUM ('Ä', 'ä', '');
COMMENT ON TYPE shop.order_state IS 'labels with a quote, an umlaut and an emoji';

-- Pseudo-random prose that is the same everywhere: random() would change with every load.
CREATE FUNCTION lab.prose(seed bigint, words integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $prose$
DECLARE
  vocabulary CONSTANT text[] := string_to_array($w$
account address afternoon agreed airport almost amount answer appeared apple april around arrived
artist asked autumn average balance banana basket battery beautiful because bicycle billing blanket
border bottle branch bread bridge broken brother budget builder burden butter cabinet camera cancel
captain carbon careful carton castle caution central certain change charge cheap chicken choice
circle citizen classic clean client climate closed coffee collect colour comfort common company
complaint concert confirm contact copper corner cotton country courier cousin cover credit crystal
culture curious current curtain customer damage danger daylight debit decided deeply delay delivery
demand deposit desert detail device dinner direct discount distance doctor dollar double dozen
drawer dream driver during early eastern easily economy editor effort eight either electric eleven
empty engine enough entire envelope error evening event exactly example except expected expense
express fabric factory failed familiar family farmer faster february fifteen figure filter finally
finger finish first flight floor flower follow foreign forest forgot formal forward freight fresh
friend front future garden gentle gesture glass golden grocery ground growth guarantee guest handle
happen harbour hardware heavy helmet history holiday honest hospital hotel however hundred imported
include increase indoor inform instead insurance invoice island item january journey july kitchen
label ladder language large later leather legal letter level library light linen liquid little local
logistic lonely machine magazine manager manner market material meadow measure medium member
merchant message metal middle minute mirror missing mobile modern moment monday money morning
mountain museum narrow nature nearly needed neighbour network nothing november number object october
offer office often online orange order origin outside overnight package painter paper parcel partner
past payment pencil people perfect phone picture pillow planet plastic please pocket pointed police
$w$, ' ');
  digest bytea;
  result text := '';
  at integer := 0;
BEGIN
  FOR i IN 0 .. words - 1 LOOP
    at := i % 64;
    IF at = 0 THEN
      digest := sha512(convert_to(seed::text || '/' || i::text, 'UTF8'));
    END IF;
    result := result || vocabulary[1 + get_byte(digest, at)] || ' ';
  END LOOP;
  RETURN rtrim(result);
END
$prose$;

CREATE TABLE shop.customers (
  customer_id integer GENERATED ALWAYS AS IDENTITY (START WITH 1000 INCREMENT BY 3) PRIMARY KEY,
  email shop.email NOT NULL,
  full_name text NOT NULL CHECK (full_name <> ''),
  search_name text GENERATED ALWAYS AS (lower(full_name)) STORED,
  home shop.postal_address,
  other_homes shop.address[],
  referred_by integer,
  labels text[] NOT NULL DEFAULT '{}',
  settings ext.hstore,
  born date,
  newsletter boolean
);
COMMENT ON TABLE shop.customers IS E'People who buy.\nSecond line, with a \\ and a ''quote''.';
COMMENT ON COLUMN shop.customers.born IS 'may be BC: ancestors are customers too';

CREATE TABLE shop.products (
  sku text PRIMARY KEY,
  title text NOT NULL,
  description text,
  price shop.amount NOT NULL,
  attributes jsonb NOT NULL DEFAULT '{}',
  picture bytea,
  words tsvector GENERATED ALWAYS AS (
    to_tsvector('pg_catalog.simple'::regconfig, title || ' ' || coalesce(description, ''))) STORED
) WITH (fillfactor = 90);
ALTER TABLE shop.products ALTER COLUMN picture SET STORAGE EXTERNAL;
ALTER TABLE shop.products ALTER COLUMN title SET STATISTICS 500;

CREATE TABLE shop.orders (
  order_id bigint GENERATED BY DEFAULT AS IDENTITY (INCREMENT BY 7 CACHE 5),
  placed_at timestamptz NOT NULL,
  customer_id integer NOT NULL,
  state shop.order_state NOT NULL DEFAULT 'new',
  currency character(3) NOT NULL DEFAULT 'EUR',
  total shop.amount NOT NULL,
  note text,
  shipping jsonb,
  tracking uuid,
  CONSTRAINT known_currency CHECK (currency IN ('EUR', 'CHF', 'SEK'))
) PARTITION BY RANGE (placed_at);
CREATE TABLE shop.orders_2022 PARTITION OF shop.orders
  FOR VALUES FROM ('2022-01-01 00:00+00') TO ('2023-01-01 00:00+00');
CREATE TABLE shop.orders_2023 PARTITION OF shop.orders
  FOR VALUES FROM ('2023-01-01 00:00+00') TO ('2024-01-01 00:00+00');
CREATE TABLE shop.orders_2024 PARTITION OF shop.orders
  FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00')
  PARTITION BY RANGE (placed_at);
CREATE TABLE shop.orders_2024_first_half PARTITION OF shop.orders_2024
  FOR VALUES FROM (MINVALUE) TO ('2024-07-01 00:00+00');
CREATE TABLE shop.orders_2024_rest PARTITION OF shop.orders_2024 DEFAULT;
CREATE TABLE shop.orders_default PARTITION OF shop.orders DEFAULT;

CREATE TABLE shop.order_items (
  order_id bigint NOT NULL,
  placed_at timestamptz NOT NULL,
  line smallint NOT NULL,
  sku text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  unit_price shop.amount NOT NULL,
  line_total numeric GENERATED ALWAYS AS (quantity * unit_price) STORED,
  serial_no text
);

CREATE TABLE shop.articles (
  article_id integer PRIMARY KEY,
  headline text COLLATE lab.code_point NOT NULL,
  body text NOT NULL,
  published daterange
);

CREATE TABLE shop.bookings (
  room integer NOT NULL,
  during tstzrange NOT NULL,
  who shop.email,
  CONSTRAINT no_double_booking EXCLUDE USING gist (room WITH =, during WITH &&)
    WHERE (NOT isempty(during))
);

CREATE TABLE shop.attachments (
  attachment_id serial PRIMARY KEY,
  file_name text NOT NULL,
  content oid NOT NULL
);
COMMENT ON COLUMN shop.attachments.content IS 'a large object; nothing but this column says so';

CREATE UNLOGGED TABLE shop.carts (
  cart_id uuid PRIMARY KEY,
  contents jsonb
);

CREATE TABLE audit.events (
  event_id bigint GENERATED ALWAYS AS IDENTITY,
  happened_at timestamptz NOT NULL,
  kind text NOT NULL,
  actor text,
  payload jsonb NOT NULL,
  message text,
  digest bytea
) PARTITION BY LIST (kind);
CREATE TABLE audit.events_orders PARTITION OF audit.events
  FOR VALUES IN ('order', 'payment');
CREATE TABLE audit.events_logins PARTITION OF audit.events FOR VALUES IN ('login');
CREATE TABLE audit.events_rest PARTITION OF audit.events DEFAULT;

-- The column order of this partition differs from its parent's and one column is gone: rows are
-- mapped by name, and a comparison by position would see a difference that is none.
CREATE TABLE audit.events_imported (
  digest bytea,
  obsolete integer,
  message text,
  payload jsonb NOT NULL,
  actor text,
  kind text NOT NULL,
  happened_at timestamptz NOT NULL,
  event_id bigint NOT NULL
);
ALTER TABLE audit.events_imported DROP COLUMN obsolete;
ALTER TABLE audit.events ATTACH PARTITION audit.events_imported FOR VALUES IN ('import', NULL);

CREATE SEQUENCE lab.odd_steps INCREMENT 7 MINVALUE -100 MAXVALUE 1000 START 5 CACHE 3 CYCLE;
CREATE SEQUENCE lab.backwards INCREMENT -3 START -1;
CREATE SEQUENCE lab.tiny AS smallint START 30000;
CREATE SEQUENCE lab.never_called START 42;
CREATE SEQUENCE "Straße & Söhne"."Zähler Nr. 1" INCREMENT 11;

RESET ROLE;
SET ROLE hr_owner;

CREATE TABLE hr.departments (
  department_id integer PRIMARY KEY,
  name text NOT NULL,
  head integer NOT NULL
);
CREATE TABLE hr.employees (
  employee_id integer PRIMARY KEY,
  department_id integer NOT NULL,
  manager integer,
  name text NOT NULL,
  badge text
);
CREATE TABLE hr.salaries (
  employee_id integer NOT NULL,
  valid daterange NOT NULL,
  yearly numeric(10, 2) NOT NULL,
  account name NOT NULL DEFAULT CURRENT_USER
);
RESET ROLE;
