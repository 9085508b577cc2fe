-- The bulk. Every value derives from a counter by arithmetic or by md5, never from random() or
-- now(), so that two loads are equal to the byte and a failed comparison can be looked at again.
-- How many :orders and :events there are is the loader's choice: they are most of the size.
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET synchronous_commit = off;
SET ROLE shop_owner;

INSERT INTO shop.customers (email, full_name, home, other_homes, referred_by, labels, settings,
                            born, newsletter)
SELECT 'user' || n || '@' || (ARRAY['example.org', 'Example.COM', 'bücher.example'])[1 + n % 3],
       initcap(w[1] || ' ' || w[2])
         || (ARRAY['', ' Ödegård', ' 王小明', ' O''Brien', ' 🙂'])[1 + n % 5],
       ROW(initcap(w[3]) || ' street', (n % 200)::text || chr(97 + n % 5),
           lpad((n * 7 % 99999)::text, 5, '0'), initcap(w[4]), (ARRAY['DE', 'CH', 'SE'])[1 + n % 3],
           point(n % 180, (n * 13) % 90))::shop.address,
       CASE WHEN n % 10 = 0
            THEN ARRAY[ROW('a, "quoted" street', '', NULL, w[5], 'DE', NULL)::shop.address, NULL] END,
       CASE WHEN n % 4 = 0 AND n > 1 THEN 1000 + 3 * (n / 2) END,
       ARRAY[w[6], w[7], CASE WHEN n % 100 = 0 THEN NULL ELSE 'it''s {odd}, "really"' END],
       CASE WHEN n % 6 <> 0 THEN ext.hstore(ARRAY['lang', w[8], 'theme', NULL, 'seen', n::text]) END,
       CASE WHEN n % 1000 = 7 THEN DATE '0044-03-15 BC' + n ELSE DATE '1950-01-01' + n % 20000 END,
       (ARRAY[true, false, NULL])[1 + n % 3]
  FROM generate_series(0, 79999) AS n,
       LATERAL (SELECT string_to_array(lab.prose(n, 8), ' ') AS w) AS prose;

INSERT INTO shop.products (sku, title, description, price, attributes, picture)
SELECT 'SKU-' || upper(left(md5(n::text), 8)) || '-' || n,
       initcap(lab.prose(1000000 + n, 4)),
       CASE WHEN n % 9 <> 0 THEN lab.prose(2000000 + n, 40) END,
       (n * 37 % 100000) / 100.0,
       jsonb_build_object('weight_g', n * 3 % 5000, 'colour', split_part(lab.prose(n, 3), ' ', 2),
                          'sizes', jsonb_build_array(n % 7, n % 11, NULL, 'XL'),
                          'nested', jsonb_build_object('é', n % 2 = 0, '"', '\')),
       -- Pictures as they are kept in bytea: 48 KiB that don't compress.
       CASE WHEN n % 8 = 0 THEN (
           SELECT string_agg(sha512((n || ' ' || part)::bytea), '' ORDER BY part)
             FROM generate_series(1, 768) AS part) END
  FROM generate_series(1, 12000) AS n;

-- Sorted by time as a real shop's rows would be, with a few far away for the default partition.
INSERT INTO shop.orders (order_id, placed_at, customer_id, state, currency, total, note, shipping,
                         tracking)
SELECT n,
       CASE WHEN n % 5000 = 3 THEN TIMESTAMPTZ '1999-12-31 23:59:59.999999+00' + n * INTERVAL '1 us'
            ELSE TIMESTAMPTZ '2022-01-01 00:00+00' + n * 96340200.0 / :orders * INTERVAL '1 s' END,
       1000 + 3 * (n::bigint * 7919 % 80000)::integer,
       (ARRAY['new', 'paid', 'on hold', 'packed', 'shipped', 'shipped', 'shipped', 'returned',
              'it''s gone', 'Müll 🗑']::shop.order_state[])[1 + n % 10],
       (ARRAY['EUR', 'EUR', 'CHF', 'SEK'])[1 + n % 4],
       (n * 31 % 5000000) / 100.0,
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE lab.prose(n, 14) END,
       jsonb_build_object('carrier', (ARRAY['post', 'bike', 'drone'])[1 + n % 3],
                          'weight', n * 17 % 9000, 'insured', n % 5 = 0,
                          'steps', jsonb_build_array(jsonb_build_object('at', n, 'in', 'Köln'),
                                                     jsonb_build_object('at', n + 60, 'in', 'Bern'))),
       md5('tracking ' || n)::uuid
  FROM generate_series(1, :orders) AS n;

INSERT INTO shop.order_items (order_id, placed_at, line, sku, quantity, unit_price, serial_no)
SELECT o.order_id, o.placed_at, line,
       'SKU-' || upper(left(md5(p::text), 8)) || '-' || p,
       1 + (o.order_id * line) % 9,
       (p * 37 % 100000) / 100.0,
       CASE WHEN (o.order_id + line) % 3 = 0 THEN md5(o.order_id::text || line) END
  FROM shop.orders AS o,
       generate_series(1, 1 + (o.order_id % 4)::integer) AS line,
       LATERAL (SELECT 1 + (o.order_id * 101 + line * 17) % 12000 AS p OFFSET 0) AS picked;

INSERT INTO shop.articles
SELECT n, initcap(lab.prose(3000000 + n, 7)),
       lab.prose(4000000 + n, 300) || E'\n\n' || lab.prose(5000000 + n, 200),
       daterange(DATE '2020-01-01' + n % 1500, DATE '2020-02-01' + n % 1500)
  FROM generate_series(1, 12000) AS n;

INSERT INTO shop.bookings
SELECT n % 50,
       tstzrange(TIMESTAMPTZ '2024-01-01 08:00+00' + (n / 50) * INTERVAL '2 h',
                 TIMESTAMPTZ '2024-01-01 10:00+00' + (n / 50) * INTERVAL '2 h'),
       'user' || n || '@example.org'
  FROM generate_series(1, 5000) AS n;
INSERT INTO shop.bookings VALUES (1, 'empty', NULL), (1, 'empty', NULL), (51, '(,)', NULL);

INSERT INTO shop.carts
SELECT md5('cart ' || n)::uuid, jsonb_build_object('lines', n % 9, 'note', lab.prose(n, 5))
  FROM generate_series(1, 5000) AS n;

INSERT INTO audit.events (happened_at, kind, actor, payload, message, digest)
SELECT TIMESTAMPTZ '2023-06-01 00:00+00' + n * INTERVAL '73.21 s',
       (ARRAY['order', 'payment', 'login', 'order', 'refund', 'mail', 'import'])[1 + n % 7],
       CASE WHEN n % 11 = 0 THEN NULL ELSE 'user' || n::bigint * 7919 % 80000 || '@example.org' END,
       jsonb_build_object('request', left(md5('request ' || n), 16),
                          'address', '10.' || n % 250 || '.' || n / 250 % 250 || '.7',
                          'duration_ms', (n * 7 % 100000) / 10.0,
                          'agent', 'shop/' || n % 12 || '.' || n % 7,
                          'headers', jsonb_build_object('accept', 'application/json',
                                                        'language', (ARRAY['de-CH', 'sv', 'en'])[1 + n % 3]),
                          'path', '/api/v2/' || split_part(lab.prose(n % 5000, 2), ' ', 1) || '/' || n,
                          'ok', n % 17 <> 0, 'retry', NULL),
       lab.prose(7000000 + n, 16),
       CASE WHEN n % 3 = 0 THEN decode(md5('digest ' || n), 'hex') END
  FROM generate_series(1, :events) AS n;
RESET ROLE;

SET ROLE hr_owner;
INSERT INTO hr.departments
SELECT n, 'Department ' || n, 1 + n * 10 FROM generate_series(0, 49) AS n;
INSERT INTO hr.employees
SELECT n, n % 50, CASE WHEN n > 1 THEN n / 2 END, initcap(lab.prose(8000000 + n, 2)),
       CASE WHEN n % 3 = 0 THEN NULL ELSE 'B' || n END
  FROM generate_series(1, 2000) AS n;
INSERT INTO hr.salaries
SELECT n, daterange(DATE '2020-01-01', NULL), 30000 + n * 13.37,
       (ARRAY['shop_app', 'Analyst Team', 'hr_owner'])[1 + n % 3]
  FROM generate_series(1, 2000) AS n;
RESET ROLE;
