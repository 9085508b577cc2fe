SET client_encoding = 'UTF8';
SET client_min_messages = warning;

-- Fixed identifiers: a dump keeps them, and comparing two loads needs them to be equal.
-- 600 of some kilobytes, eight of 2 to 3 MB, an empty one, and one with a hole in it.
SELECT count(lo_from_bytea(900000 + n,
         (SELECT string_agg(sha512((n || ':' || k)::bytea), ''::bytea ORDER BY k)
            FROM generate_series(0, n % 200) AS k)))
  FROM generate_series(1, 600) AS n \g /dev/null
SELECT count(lo_from_bytea(910000 + n,
         (SELECT string_agg(sha256((n || ':' || k)::bytea) || format(
                   E'\n%s 0 obj << /Type /Page /Parent 1 0 R /Contents %s >> endobj\n',
                   k, k + 1)::bytea, ''::bytea ORDER BY k)
            FROM generate_series(1, 20000 + n * 1200) AS k)))
  FROM generate_series(1, 8) AS n \g /dev/null
SELECT lo_create(920001), lo_create(920002) \g /dev/null
SELECT lo_put(920002, 1500000, '\x00ff00') \g /dev/null

INSERT INTO shop.attachments (file_name, content)
SELECT 'file ' || oid || '.pdf', oid FROM pg_largeobject_metadata ORDER BY oid;

-- exporter reads each object by an explicit grant, see 10_roles.sql; an application that makes
-- large objects has to grant it as well, or the next export fails.
DO $$
DECLARE
  lo bigint;
BEGIN
  FOR lo IN SELECT oid FROM pg_largeobject_metadata ORDER BY oid LOOP
    EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO exporter', lo);
    EXECUTE format('ALTER LARGE OBJECT %s OWNER TO %I', lo,
                   CASE lo % 3 WHEN 0 THEN 'hr_owner' ELSE 'shop_owner' END);
    IF lo % 5 = 0 THEN
      EXECUTE format('GRANT SELECT, UPDATE ON LARGE OBJECT %s TO shop_app', lo);
      EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO "Analyst Team" WITH GRANT OPTION', lo);
    END IF;
  END LOOP;
END $$;
COMMENT ON LARGE OBJECT 910001 IS 'contract.pdf — “signed”';
