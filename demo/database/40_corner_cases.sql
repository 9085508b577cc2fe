-- Values and names that naive exports lose: small tables, each with one way to go wrong.
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET ROLE shop_owner;

-- No money column: its text depends on lc_monetary, which a dump neither sets nor records.
CREATE TABLE lab.type_zoo (
  id integer GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY 10) PRIMARY KEY,
  small smallint, big bigint, num numeric, num_scaled numeric(20, -2), real4 real,
  real8 double precision, yes boolean, one "char", fixed character(5), limited varchar(20),
  words text, bytes bytea, day date, clock time(3), clock_tz timetz, stamp timestamp,
  stamp_tz timestamptz, span interval, uid uuid, host inet, net cidr, mac macaddr, mac8 macaddr8,
  bits bit(5), var_bits bit varying, spot point, endless line, piece lseg, rect box, way path,
  area polygon, ring circle, doc json, doc_b jsonb, query_path jsonpath, lexemes tsvector,
  search tsquery, ints int4range, nums nummultirange, days datemultirange, stamps tstzmultirange,
  floats lab.float_range, many_floats lab.float_multirange, lsn pg_lsn, kind regtype,
  relation regclass, grid integer[][], states shop.order_state[], homes shop.postal_address[],
  prices shop.amount[], pairs ext.hstore, nocase ext.citext, mixed lab."Mixed Case"
);
INSERT INTO lab.type_zoo
  (small, big, num, num_scaled, real4, real8, yes, one, fixed, limited, words, bytes, day, clock,
   clock_tz, stamp, stamp_tz, span, uid, host, net, mac, mac8, bits, var_bits, spot, endless, piece,
   rect, way, area, ring, doc, doc_b, query_path, lexemes, search, ints, nums, days, stamps, floats,
   many_floats, lsn, kind, relation, grid, states, homes, prices, pairs, nocase, mixed)
VALUES
  (-32768, -9223372036854775808, 'NaN', 12345678, '-Infinity', 'NaN', true, 'x', 'ab', '', '', '',
   '-infinity', '24:00', '23:59:59.999999-15:59', '-infinity', 'infinity', '-178000000 years',
   '00000000-0000-0000-0000-000000000000', '::1/0', '0.0.0.0/0', '08:00:2b:01:02:03',
   '08:00:2b:01:02:03:04:05', B'10101', B'', '(NaN,Infinity)', '{1,-1,0}', '[(0,0),(1e300,1)]',
   '(2,2),(1,1)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))', '<(0,0),0>',
   '{"b":1,  "a":2, "a":3}', '{"b": 1, "a": 2, "n": 1e400}', '$.a[*] ? (@ > 1)',
   $$'a b':1A 'it''s':2B$$, $$'a' & !'b' <-> 'c':*$$, 'empty', '{}', '{[-infinity,2000-01-01)}',
   '{(,)}', '[-Infinity,Infinity]', '{[1e-308,2),[3,4]}', '0/0', 'shop.address', 'shop.orders',
   '[0:1][-1:0]={{1,NULL},{3,4}}', '{new,"it''s gone",NULL}', ARRAY[ROW('', NULL, NULL, '\', 'DE',
   '(0,0)')::shop.address]::shop.postal_address[], '{0,99.90}', '"a b"=>"c\"d", n=>NULL', 'ÀÉ', ''),
  (32767, 9223372036854775807, '-Infinity', 0, 1.17549435e-38, 1.7976931348623157e308, false, '',
   '', 'tab	tab', E'\\N', '\x00ff5c0a27', '4713-01-01 BC', '00:00:00.001', '00:00+15:59',
   '4713-11-24 00:00:00 BC', '294276-12-31 23:59:59.999999+00', '1 mon -1 day 00:00:00.000001',
   'ffffffff-ffff-ffff-ffff-ffffffffffff', '10.1.2.3/8', 'fe80::/10', NULL, NULL, B'00000',
   B'1', '(-0,1e-300)', '{0,1,0}', NULL, NULL, '((0,0))', NULL, '<(1,2),Infinity>', 'null', 'null',
   'strict $', '', '', '(,5)', '{(-Infinity,0),[1,1]}', '{}', '{}', 'empty', '{}', 'FFFFFFFF/FFFFFFFF',
   'integer[]', NULL, '{}', '{}', '{}', '{}', '', '', 'ä');
INSERT INTO lab.type_zoo (num, real4, real8) VALUES
  ('Infinity', 3.4028235e38, 5e-324), (1e131071, 1e-45, '-0'), (1.000, 0.1, 0.1),
  (('0.' || repeat('0', 16000) || '1')::numeric, 'NaN', 0.30000000000000004), (repeat('9', 1000)::numeric, '-0', 1e22);
INSERT INTO lab.type_zoo DEFAULT VALUES;

CREATE TABLE lab.difficult_text (n integer PRIMARY KEY, body text, raw bytea);
INSERT INTO lab.difficult_text (n, body) VALUES
  (1, ''), (2, NULL), (3, E'\\.'), (4, E'first\n\\.\nlast'), (5, E'\\N'), (6, E'\n'), (7, E'\r\n\r'),
  (8, E'\t\\t\\\\t\b\f\v'), (9, E'\x01\x02\x1b[31mred\x7f'), (10, 'emoji 🐘👩‍👩‍👧‍👦🏳️‍🌈 zalgo ż̷̢'), (11, 'עברית العربية ‮reversed‬'),
  (12, E'\u00a0\u2028\u2029\ufeff'), (13, '"quoted", ''single'', $$dollar$$, $1, :var, %s'),
  (14, E'--\n-- Name: no_table; Type: TABLE; Schema: none; Owner: nobody\n--\n'), (15, '; DROP TABLE x; --'),
  (16, E'COPY lab.difficult_text FROM stdin;\n1\t2\n\\.\n'), (17, ' leading and trailing '), (18, 'é'), (19, 'é'),
  (20, E'\\restrict x\n\\unrestrict x\n\\! true\n'), (21, chr(1114111));
INSERT INTO lab.difficult_text (n, body)
SELECT 100, string_agg(md5(n::text), CASE WHEN n % 7 = 0 THEN E'\n' ELSE E'\\' END ORDER BY n)
  FROM generate_series(1, 60000) AS n;
INSERT INTO lab.difficult_text (n, body) VALUES (101, repeat('long and dull ', 500000));
INSERT INTO lab.difficult_text (n, raw)
SELECT 200 + k, string_agg(sha256(n::text::bytea), ''::bytea ORDER BY n)
  FROM generate_series(0, 3) AS k, generate_series(1, 10000 * k) AS n GROUP BY k;

CREATE TABLE lab.no_columns ();
INSERT INTO lab.no_columns DEFAULT VALUES;
INSERT INTO lab.no_columns DEFAULT VALUES;
INSERT INTO lab.no_columns DEFAULT VALUES;

CREATE TABLE lab.no_rows (id integer, "select" text DEFAULT E'a\nb');

CREATE TABLE lab.duplicates (word text, n integer);
INSERT INTO lab.duplicates SELECT 'same', 1 FROM generate_series(1, 100);
INSERT INTO lab.duplicates VALUES (NULL, NULL), (NULL, NULL), ('', NULL);

CREATE TABLE lab.remodelled (gone integer, kept text, also_gone text, n integer);
INSERT INTO lab.remodelled SELECT n, 'row ' || n, 'x', n FROM generate_series(1, 500) AS n;
ALTER TABLE lab.remodelled DROP COLUMN gone, DROP COLUMN also_gone;
ALTER TABLE lab.remodelled ADD COLUMN late numeric DEFAULT 1.50;
INSERT INTO lab.remodelled VALUES ('after', 501, NULL);

-- A column added to the parent afterwards ends up last in the child, and first after a restore.
-- The child has another default, not none: pg_dump loses a DROP DEFAULT half-way down a chain of
-- three tables (the grandchild comes back with the grandparent's default).
CREATE TABLE lab.vehicle (plate text PRIMARY KEY, wheels integer DEFAULT 4 CHECK (wheels >= 0));
CREATE TABLE lab.truck (load_kg numeric) INHERITS (lab.vehicle);
ALTER TABLE lab.vehicle ADD COLUMN colour text DEFAULT 'red';
ALTER TABLE lab.truck ALTER COLUMN wheels SET DEFAULT 8, ALTER COLUMN colour SET DEFAULT 'grey';
CREATE TABLE lab.loaned (loaned_to text);
CREATE TABLE lab.loaned_truck () INHERITS (lab.truck, lab.loaned);
INSERT INTO lab.vehicle SELECT 'V' || n, n % 5, 'blue' FROM generate_series(1, 50) AS n;
INSERT INTO lab.truck (plate, load_kg) SELECT 'T' || n, n * 1000 FROM generate_series(1, 50) AS n;
INSERT INTO lab.loaned_truck (plate, loaned_to) VALUES ('L1', 'ann'), ('L1', 'ann');

CREATE TABLE "Straße & Söhne"."Größen ""Tabelle""" (
  "Spalte mit Leerzeichen" integer PRIMARY KEY DEFAULT nextval('"Straße & Söhne"."Zähler Nr. 1"'),
  "UPPER" text, "名前" text DEFAULT '名', "t" text, "a.b" integer,
  "it's" integer GENERATED ALWAYS AS ("a.b" * 2) STORED, "%s \ $1" text, "🙂" boolean
);
INSERT INTO "Straße & Söhne"."Größen ""Tabelle""" ("UPPER", t, "a.b", "%s \ $1", "🙂")
SELECT 'U' || n, 't', n, '\', n % 2 = 0 FROM generate_series(1, 300) AS n;
ALTER SEQUENCE "Straße & Söhne"."Zähler Nr. 1"
  OWNED BY "Straße & Söhne"."Größen ""Tabelle"""."Spalte mit Leerzeichen";
COMMENT ON TABLE "Straße & Söhne"."Größen ""Tabelle""" IS 'Ünï — “quotes”, \n is no newline, '';--';
COMMENT ON COLUMN "Straße & Söhne"."Größen ""Tabelle"""."it's" IS '🐘';
CREATE TABLE "say ""hi"""."Order" ("from" integer, "To" integer, PRIMARY KEY ("To", "from"));
INSERT INTO "say ""hi"""."Order" SELECT n, -n FROM generate_series(1, 20) AS n;

SELECT nextval('lab.odd_steps'), nextval('lab.odd_steps'), nextval('lab.backwards'),
       nextval('lab.tiny') \g /dev/null
SELECT setval('lab.backwards', -3000, false) \g /dev/null
-- COPY and explicit values do not move a sequence; the next insert of an application would fail.
SELECT setval('shop.orders_order_id_seq', 4200000) \g /dev/null
RESET ROLE;
