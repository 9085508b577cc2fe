-- What a dump restores after the rows, made after the rows here as well because it is faster.
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET maintenance_work_mem = '128MB';
SET synchronous_commit = off;
SET ROLE shop_owner;

ALTER TABLE shop.orders ADD PRIMARY KEY (order_id, placed_at);
ALTER TABLE shop.order_items ADD PRIMARY KEY (order_id, placed_at, line);
ALTER TABLE shop.order_items CLUSTER ON order_items_pkey;
ALTER TABLE audit.events_orders ADD CONSTRAINT only_known CHECK (kind IN ('order', 'payment'));
ALTER TABLE shop.customers
  ADD CONSTRAINT customers_referred_by_fkey FOREIGN KEY (referred_by) REFERENCES shop.customers
    ON DELETE SET NULL DEFERRABLE;
ALTER TABLE shop.orders
  ADD CONSTRAINT orders_customer_fkey FOREIGN KEY (customer_id) REFERENCES shop.customers;
ALTER TABLE shop.order_items
  ADD CONSTRAINT items_order_fkey FOREIGN KEY (order_id, placed_at) REFERENCES shop.orders
    ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  ADD CONSTRAINT items_sku_fkey FOREIGN KEY (sku) REFERENCES shop.products ON UPDATE CASCADE;
ALTER TABLE lab.remodelled ADD CONSTRAINT unchecked CHECK (n < 500) NOT VALID;
ALTER TABLE "say ""hi"""."Order" REPLICA IDENTITY FULL;
ALTER TABLE shop.customers ALTER COLUMN email SET (n_distinct = -1);

CREATE UNIQUE INDEX customers_email_key ON shop.customers (email);
CREATE INDEX customers_name_idx ON shop.customers (search_name text_pattern_ops, born DESC NULLS LAST);
CREATE INDEX customers_labels_idx ON shop.customers USING gin (labels);
CREATE INDEX customers_city_idx ON shop.customers (((home).city)) WHERE newsletter;
CREATE INDEX products_attributes_idx ON shop.products USING gin (attributes jsonb_path_ops);
CREATE INDEX products_title_trgm_idx ON shop.products USING gin (title ext.gin_trgm_ops);
CREATE INDEX products_words_idx ON shop.products USING gin (words) WITH (fastupdate = off);
CREATE INDEX products_price_idx ON shop.products (price) INCLUDE (title) WHERE price > 10;
CREATE INDEX orders_placed_idx ON shop.orders USING brin (placed_at) WITH (pages_per_range = 32);
CREATE INDEX orders_open_idx ON shop.orders (customer_id, state) WHERE state <> 'shipped';
CREATE INDEX orders_carrier_idx ON ONLY shop.orders ((shipping ->> 'carrier'));
CREATE INDEX orders_2022_carrier ON shop.orders_2022 ((shipping ->> 'carrier'));
ALTER INDEX shop.orders_carrier_idx ATTACH PARTITION shop.orders_2022_carrier;
CREATE INDEX events_time_idx ON audit.events USING brin (happened_at);
CREATE INDEX articles_published_idx ON shop.articles USING gist (published);
CREATE INDEX articles_headline_idx ON shop.articles (headline COLLATE "C");
CREATE INDEX bookings_who_idx ON shop.bookings USING hash (who);
CREATE UNIQUE INDEX duplicates_key ON lab.no_rows (id, "select") NULLS NOT DISTINCT;
CREATE INDEX zoo_host_idx ON lab.type_zoo USING spgist (host);
CREATE INDEX "Index mit ""Quotes""" ON "Straße & Söhne"."Größen ""Tabelle""" (lower("UPPER"), "名前");
CREATE STATISTICS shop.orders_state_stats (dependencies, ndistinct, mcv)
  ON state, currency FROM shop.orders_2022;
CREATE STATISTICS shop.customers_expr_stats ON lower(full_name), (born + 1) FROM shop.customers;

CREATE FUNCTION shop.order_count(who integer) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT count(*) FROM shop.orders WHERE customer_id = who;
END;
CREATE FUNCTION shop.order_count(who text, VARIADIC states shop.order_state[] DEFAULT '{new,paid}')
RETURNS TABLE (state shop.order_state, orders bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT o.state, count(*) FROM shop.orders AS o JOIN shop.customers AS c USING (customer_id)
   WHERE c.full_name = who AND o.state = ANY (states) GROUP BY o.state
$$;
CREATE FUNCTION lab.split_money(amount numeric, OUT whole numeric, OUT "Cents" integer)
LANGUAGE plpgsql IMMUTABLE COST 7 AS $_$
BEGIN
  -- $$ and $function$ and \. in a body
--
-- Name: a header that is none; Type: TABLE; Schema: nowhere; Owner: nobody
--
  whole := trunc(amount);
  "Cents" := (amount - whole) * 100;
END
$_$;
RESET ROLE;
-- Only a superuser makes a function LEAKPROOF; done apart so that the owner stays an ordinary role.
ALTER FUNCTION lab.split_money(numeric) LEAKPROOF;
SET ROLE shop_owner;

CREATE PROCEDURE shop.cancel_order(IN which bigint, INOUT cancelled integer DEFAULT 0)
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE shop.orders SET state = 'it''s gone' WHERE order_id = which;
  GET DIAGNOSTICS cancelled = ROW_COUNT;
END
$$;
CREATE AGGREGATE lab.product(numeric) (
  SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', COMBINEFUNC = numeric_mul, PARALLEL = SAFE);
CREATE FUNCTION lab.longer(text, text) RETURNS text LANGUAGE sql IMMUTABLE
  RETURN CASE WHEN length($2) > length($1) THEN $2 ELSE $1 END;
CREATE AGGREGATE lab.longest(text) (SFUNC = lab.longer, STYPE = text, INITCOND = '');
CREATE OPERATOR lab.<~> (FUNCTION = lab.longer, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION shop.address_text(shop.address) RETURNS text LANGUAGE sql IMMUTABLE
  RETURN concat_ws(', ', ($1).street, ($1).postcode || ' ' || ($1).city);
CREATE CAST (shop.address AS text) WITH FUNCTION shop.address_text(shop.address) AS ASSIGNMENT;
CREATE TEXT SEARCH CONFIGURATION shop.plain (COPY = pg_catalog.simple);

CREATE TABLE audit.changes (
  change_id integer GENERATED ALWAYS AS IDENTITY,
  relation text NOT NULL,
  rows bigint NOT NULL
);
CREATE FUNCTION audit.count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit.changes (relation, rows)
  SELECT TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, count(*) FROM new_rows;
  RETURN NULL;
END
$$;
CREATE FUNCTION shop.tidy_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.note := nullif(btrim(NEW.note), TG_ARGV[0]);
  RETURN NEW;
END
$$;
CREATE TRIGGER tidy BEFORE UPDATE OF note ON shop.orders FOR EACH ROW
  WHEN (NEW.note IS DISTINCT FROM OLD.note) EXECUTE FUNCTION shop.tidy_note('it''s "nothing"');
CREATE TRIGGER "Count ""Rows""" AFTER INSERT ON shop.customers
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION audit.count_rows();
CREATE FUNCTION shop.must_have_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM shop.order_items WHERE order_id = NEW.order_id) THEN
    RAISE EXCEPTION 'order % has no items', NEW.order_id;
  END IF;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER has_items AFTER INSERT ON shop.orders_2022
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.must_have_items();
ALTER TABLE shop.orders_2022 DISABLE TRIGGER has_items;
COMMENT ON TRIGGER tidy ON shop.orders IS 'a trigger of a partitioned table';

CREATE VIEW shop.open_orders AS
  SELECT o.order_id, o.placed_at, o.state, c.full_name, (c.home).city AS "City of 🏠"
    FROM shop.orders AS o JOIN shop.customers AS c USING (customer_id)
   WHERE o.state IN ('new', 'paid', 'on hold');
CREATE VIEW shop.cheap_products WITH (security_barrier, security_invoker) AS
  SELECT sku, title, price FROM shop.products WHERE price < 20 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW shop.referrals (customer_id, depth) AS
  SELECT customer_id, 0 FROM shop.customers WHERE referred_by IS NULL AND customer_id < 2000
  UNION ALL
  SELECT c.customer_id, r.depth + 1
    FROM shop.customers AS c JOIN referrals AS r ON c.referred_by = r.customer_id;
CREATE VIEW lab.rule_view AS SELECT n AS id, body AS text FROM lab.difficult_text;
CREATE RULE write_through AS ON INSERT TO lab.rule_view
  DO INSTEAD INSERT INTO lab.difficult_text (n, body) VALUES (NEW.id, NEW.text);
ALTER VIEW lab.rule_view ALTER COLUMN id SET DEFAULT 99;
CREATE RULE no_delete AS ON DELETE TO lab.duplicates WHERE OLD.n IS NULL DO INSTEAD NOTHING;

CREATE MATERIALIZED VIEW shop.revenue AS
  SELECT date_trunc('month', placed_at, 'UTC') AS month, currency, sum(total) AS total, count(*) AS n
    FROM shop.orders GROUP BY 1, 2;
CREATE UNIQUE INDEX revenue_key ON shop.revenue (month, currency);
CREATE MATERIALIZED VIEW shop.revenue_by_year AS
  SELECT extract(year FROM month AT TIME ZONE 'UTC') AS year, lab.product(n) AS silly,
         sum(total) AS total
    FROM shop.revenue GROUP BY 1;
CREATE MATERIALIZED VIEW shop.never_refreshed AS SELECT * FROM shop.open_orders WITH NO DATA;
COMMENT ON MATERIALIZED VIEW shop.never_refreshed IS 'WITH NO DATA: cannot be read, must stay so';
RESET ROLE;

SET ROLE hr_owner;
ALTER TABLE hr.employees
  ADD CONSTRAINT employees_badge_key UNIQUE NULLS DISTINCT (badge),
  ADD CONSTRAINT employees_manager_fkey FOREIGN KEY (manager) REFERENCES hr.employees
    DEFERRABLE INITIALLY DEFERRED,
  ADD CONSTRAINT employees_department_fkey FOREIGN KEY (department_id) REFERENCES hr.departments
    DEFERRABLE INITIALLY DEFERRED;
-- The other half of a circle: neither table can be filled first while both constraints exist.
ALTER TABLE hr.departments
  ADD CONSTRAINT departments_head_fkey FOREIGN KEY (head) REFERENCES hr.employees
    DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE hr.salaries
  ADD CONSTRAINT salaries_employee_fkey FOREIGN KEY (employee_id) REFERENCES hr.employees,
  ADD CONSTRAINT one_salary_at_a_time
    EXCLUDE USING gist (employee_id WITH =, valid WITH &&) DEFERRABLE;

ALTER TABLE hr.salaries ENABLE ROW LEVEL SECURITY;
ALTER TABLE hr.salaries FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON hr.salaries USING (account = CURRENT_USER);
CREATE POLICY "Analysts: no secrets" ON hr.salaries AS RESTRICTIVE FOR SELECT TO "Analyst Team"
  USING (yearly < 50000 AND EXISTS (SELECT FROM hr.employees AS e
                                     WHERE e.employee_id = salaries.employee_id));
CREATE POLICY only_raises ON hr.salaries FOR UPDATE TO shop_app
  USING (true) WITH CHECK (yearly > 30000);
COMMENT ON POLICY own_rows ON hr.salaries IS 'even the owner sees only part: FORCE is on';
RESET ROLE;

-- Only superusers own event triggers, so restoring this one needs a superuser. It writes nothing:
-- one that logged DDL would record the restore itself and make the copy differ.
CREATE FUNCTION audit.protect_orders() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects()
              WHERE object_type = 'table' AND object_identity = 'shop.orders') THEN
    RAISE EXCEPTION 'shop.orders is not to be dropped';
  END IF;
END
$$;
CREATE EVENT TRIGGER protect_orders ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA')
  EXECUTE FUNCTION audit.protect_orders();
COMMENT ON EVENT TRIGGER protect_orders IS 'guards shop.orders';
