-- Nothing here names exporter: a realistic export role is not mentioned table by table.
SET client_encoding = 'UTF8';
SET client_min_messages = warning;

GRANT USAGE ON SCHEMA shop, audit, lab TO shop_app, auditor, "Analyst Team";
GRANT CREATE ON SCHEMA "Straße & Söhne" TO shop_app WITH GRANT OPTION;
SET ROLE shop_owner;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA shop TO shop_app;
GRANT SELECT ON shop.revenue, shop.open_orders TO "Analyst Team" WITH GRANT OPTION;
GRANT SELECT (customer_id, full_name, born), UPDATE (labels) ON shop.customers TO "Analyst Team";
GRANT SELECT ("UPPER", "it's"), REFERENCES ("Spalte mit Leerzeichen")
  ON "Straße & Söhne"."Größen ""Tabelle""" TO auditor, PUBLIC;
GRANT USAGE, SELECT ON SEQUENCE shop.orders_order_id_seq, lab.odd_steps TO shop_app;
GRANT SELECT, MAINTAIN ON ALL TABLES IN SCHEMA audit TO auditor;
REVOKE ALL ON FUNCTION shop.order_count(text, shop.order_state[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shop.order_count(text, shop.order_state[]) TO shop_app;
REVOKE ALL ON PROCEDURE shop.cancel_order(bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE shop.cancel_order(bigint, integer) TO shop_app, "Analyst Team";
REVOKE USAGE ON TYPE shop.order_state FROM PUBLIC;
GRANT USAGE ON TYPE shop.order_state TO shop_app;
-- An owner may deny itself rights, and a dump must say so.
REVOKE DELETE, TRUNCATE ON audit.events FROM shop_owner;
RESET ROLE;
-- Granted on by a grantee: the dump has to speak as that role for a moment.
SET ROLE "Analyst Team";
GRANT SELECT ON shop.revenue TO auditor;
RESET ROLE;
SET ROLE hr_owner;
GRANT USAGE ON SCHEMA hr TO shop_app, "Analyst Team";
GRANT SELECT, UPDATE ON hr.salaries TO shop_app, "Analyst Team";
GRANT SELECT (employee_id, name) ON hr.employees TO PUBLIC;
RESET ROLE;

ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA shop
  GRANT SELECT, INSERT ON TABLES TO shop_app;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA lab
  GRANT USAGE ON SEQUENCES TO "Analyst Team" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE hr_owner GRANT SELECT ON TABLES TO auditor;

ANALYZE;
