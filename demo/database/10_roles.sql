-- Roles are shared by the whole cluster, so every statement here has to survive a second
-- database being loaded next to the first.
SET client_min_messages = warning;

\if :{?exporter_password}
\else
  \getenv exporter_password EXPORTER_PASSWORD
\endif
\if :{?exporter_password}
\else
  DO $$ BEGIN
    RAISE EXCEPTION 'no password for the role exporter'
      USING HINT = 'psql -v exporter_password=... or the environment variable EXPORTER_PASSWORD';
  END $$;
\endif

SELECT format('CREATE ROLE %I %s', name, options)
  FROM (VALUES
    ('shop_owner', 'NOLOGIN'),
    ('hr_owner', 'NOLOGIN'),
    ('shop_app', 'NOLOGIN'),
    ('auditor', 'NOLOGIN NOINHERIT'),
    ('Analyst Team', 'NOLOGIN'),
    ('exporter', 'LOGIN')
  ) AS wanted (name, options)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

GRANT auditor TO "Analyst Team";

-- What a complete pg_dump needs, and nothing else:
--
--  * pg_read_all_data: SELECT on every table, view and sequence and USAGE on every schema, those
--    of tomorrow included. It is also enough for the ACCESS SHARE locks that pg_dump takes.
--  * BYPASSRLS: pg_dump runs with row_security = off, which turns a policy that would hide rows
--    into an error. Without this attribute the dump of hr.salaries fails; the way round it,
--    pg_dump --enable-row-security, would silently export fewer rows than there are.
--  * SELECT on each large object, granted where the objects are made: up to PostgreSQL 17
--    pg_read_all_data does not reach large objects, and default privileges cannot either.
--    lo_compat_privileges = on would open them all, but for writing and unlinking as well.
--
-- It needs no SUPERUSER, no REPLICATION and no ownership; writing stays impossible.
ALTER ROLE exporter WITH LOGIN BYPASSRLS
  NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION
  PASSWORD :'exporter_password';
GRANT pg_read_all_data TO exporter;
