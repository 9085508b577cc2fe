"""Every statement that the runner itself sends to a server; SQL stands in no other module.

A database's owner decides which operators, functions, casts and types are found where a statement
leaves that open, by its schemas and by `ALTER DATABASE … SET search_path`, and what is found runs
with the export role's rights.  So each statement runs with an empty search_path, where only
pg_catalog is left, and still names the schema of all it uses: `IN`, `NULLIF`, `BETWEEN` and
`CASE x WHEN` can't, for they look up `=` by its bare name
(https://www.postgresql.org/docs/current/typeconv-oper.html).  pg_dump empties it, too.  What runs
at a login (event triggers) is a superuser's alone to make.
"""

QUERY_SECONDS = 5

# Bytes on disk of tables, of what they have in TOAST, and of large objects.
SIZES = """
SELECT CAST(coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(c.oid)), 0) AS pg_catalog.int8),
       CAST(coalesce(pg_catalog.sum(CASE WHEN c.reltoastrelid OPERATOR(pg_catalog.<>) 0
            THEN pg_catalog.pg_relation_size(c.reltoastrelid) END), 0) AS pg_catalog.int8),
       pg_catalog.pg_relation_size(CAST('pg_catalog.pg_largeobject' AS pg_catalog.regclass))
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_'
   AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
   AND c.relkind OPERATOR(pg_catalog.=) 'r' AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
"""

# The first object that the user can't read: its kind, its name as SQL spells it, and whether only
# row-level security hides it.  pg_dump locks and reads tables, and the state of sequences.  Members
# of an extension are only created again by it, and not read.
OBSTACLES = """
SELECT CASE WHEN NOT s.usable THEN 'schema'
            WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN 'sequence' ELSE 'table' END,
       CASE WHEN NOT s.usable THEN pg_catalog.quote_ident(n.nspname)
            ELSE pg_catalog.format('%I.%I', n.nspname, c.relname) END,
       s.usable AND s.readable
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 CROSS JOIN LATERAL (
       SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usable,
              pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable) s
 WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_'
   AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
   AND c.relkind OPERATOR(pg_catalog.=) ANY (CAST('{r,p,S}' AS pg_catalog."char"[]))
   AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid OPERATOR(pg_catalog.=)
              CAST('pg_catalog.pg_class' AS pg_catalog.regclass)
          AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
   AND NOT (s.usable AND s.readable AND NOT pg_catalog.row_security_active(c.oid))
 ORDER BY c.oid LIMIT 1
"""

# The database's encoding; which session answers, of all sessions of all servers; the server's port.
SESSION = """
SELECT pg_catalog.pg_encoding_to_char(d.encoding), pg_catalog.pg_backend_pid(),
       pg_catalog.pg_postmaster_start_time(), pg_catalog.inet_server_port()
  FROM pg_catalog.pg_database d
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
"""

# LOCAL, so that nothing stays in a pooler's server connection.  PostgreSQL reads each statement of
# a message when the one before it is done, so the path already holds for the query.  The isolation,
# because a database's settings may ask for one that waits for others to end.
_BEGIN = f"""BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL search_path = '';
SET LOCAL statement_timeout = '{QUERY_SECONDS}s';"""


def message(query: str) -> str:
    """Returns what is sent for one of the queries above, as one message of the protocol."""
    return f"{_BEGIN}{query};ROLLBACK"
