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

# What follows asks for objects of one kind: in each row a name as SQL spells it, something about
# it, and how many there are, since only the first are asked for.

# pg_dump asks the server the same before it leaves subscriptions out.
SUBSCRIPTIONS = """
SELECT pg_catalog.quote_ident(s.subname), pg_catalog.current_setting('is_superuser'),
       pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_subscription s
  JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.subdbid
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
 ORDER BY s.subname LIMIT 10
"""

# A role's own settings in this database have its name.  The values may be secrets.
DATABASE_SETTINGS = """
SELECT pg_catalog.split_part(setting, '=', 1),
       CASE WHEN s.setrole OPERATOR(pg_catalog.=) 0 THEN ''
            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(s.setrole)) END,
       pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_db_role_setting s
  JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
 CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS setting
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
 ORDER BY s.setrole, setting LIMIT 10
"""

DATABASE_GRANTS = """
SELECT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'
            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
       pg_catalog.string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
       pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_database d
 CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) AS a
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
 GROUP BY a.grantee ORDER BY a.grantee LIMIT 10
"""

DATABASE_COMMENT = """
SELECT '', pg_catalog.substr(c.description, 1, 200), 1
  FROM pg_catalog.pg_database d
  JOIN pg_catalog.pg_shdescription c ON c.objoid OPERATOR(pg_catalog.=) d.oid
   AND c.classoid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_database' AS pg_catalog.regclass)
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
"""

DATABASE_SECURITY_LABELS = """
SELECT l.provider, pg_catalog.substr(l.label, 1, 200), pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_database d
  JOIN pg_catalog.pg_shseclabel l ON l.objoid OPERATOR(pg_catalog.=) d.oid
   AND l.classoid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_database' AS pg_catalog.regclass)
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
 ORDER BY l.provider LIMIT 10
"""

# With rows in them, and not said by the extension to be for its users' data.
EXTENSION_TABLES = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(x.extname),
       pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_extension x
  JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) x.oid
   AND d.refclassid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_extension' AS pg_catalog.regclass)
   AND d.classid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_class' AS pg_catalog.regclass)
   AND d.deptype OPERATOR(pg_catalog.=) 'e'
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind OPERATOR(pg_catalog.=) 'r'
   AND NOT coalesce(c.oid OPERATOR(pg_catalog.=) ANY (x.extconfig), false)
   AND pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog.>) 0
 ORDER BY n.nspname, c.relname LIMIT 10
"""

FOREIGN_TABLES = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), '', pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind OPERATOR(pg_catalog.=) 'f'
 ORDER BY n.nspname, c.relname LIMIT 10
"""

# Those whose rows a standby doesn't have.
UNLOGGED_TABLES = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), '', pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE pg_catalog.pg_is_in_recovery()
   AND c.relkind OPERATOR(pg_catalog.=) 'r' AND c.relpersistence OPERATOR(pg_catalog.=) 'u'
 ORDER BY n.nspname, c.relname LIMIT 10
"""

# Those without options, or with options that the view shows to few.
USER_MAPPINGS = """
SELECT pg_catalog.quote_ident(m.usename), pg_catalog.quote_ident(m.srvname),
       pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_user_mappings m
 WHERE m.umoptions IS NULL
   AND pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'off'
 ORDER BY m.srvname, m.usename LIMIT 10
"""

LARGE_OBJECTS = "SELECT '', '', pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata"

PUBLICATIONS = """
SELECT pg_catalog.quote_ident(p.pubname), '', pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_publication p ORDER BY p.pubname LIMIT 10
"""

FOREIGN_SERVERS = """
SELECT pg_catalog.quote_ident(s.srvname), '', pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_foreign_server s ORDER BY s.srvname LIMIT 10
"""


def _not_of_an_extension(catalog: str, row: str) -> str:
    return f"""NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend e
        WHERE e.classid OPERATOR(pg_catalog.=)
              CAST('pg_catalog.{catalog}' AS pg_catalog.regclass)
          AND e.objid OPERATOR(pg_catalog.=) {row}.oid
          AND e.deptype OPERATOR(pg_catalog.=) 'e')"""


# One of those that a dump may hold.
RELATIONS = f"""
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), '', 1
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind OPERATOR(pg_catalog.=) ANY (CAST('{{r,p,v,m,f,S}}' AS pg_catalog."char"[]))
   AND n.nspname OPERATOR(pg_catalog.!~) '^pg_'
   AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
   AND {_not_of_an_extension("pg_class", "c")}
 LIMIT 1
"""  # noqa: S608 - constants alone

# Of partitions, and of tables that inherit.
PARENTS = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), '', pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind OPERATOR(pg_catalog.=) ANY (CAST('{r,p}' AS pg_catalog."char"[]))
   AND EXISTS (SELECT FROM pg_catalog.pg_inherits i
                WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid)
 ORDER BY n.nspname, c.relname LIMIT 10
"""

EVENT_TRIGGERS = f"""
SELECT pg_catalog.quote_ident(t.evtname), '', pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_event_trigger t
 WHERE {_not_of_an_extension("pg_event_trigger", "t")}
 ORDER BY t.evtname LIMIT 10
"""  # noqa: S608 - constants alone

# The first are those of which there is more to tell than a name.
EXTENSIONS = """
SELECT pg_catalog.quote_ident(x.extname), x.extversion, pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_extension x
 WHERE x.extname OPERATOR(pg_catalog.<>) 'plpgsql'
 ORDER BY x.extname OPERATOR(pg_catalog.=)
          ANY (CAST('{postgis,timescaledb}' AS pg_catalog.name[])) DESC, x.extname LIMIT 10
"""

TABLESPACES = """
SELECT pg_catalog.quote_ident(t.spcname), '', pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_tablespace t
 WHERE EXISTS (
       SELECT FROM pg_catalog.pg_class c
        WHERE c.reltablespace OPERATOR(pg_catalog.=) t.oid
          AND c.oid OPERATOR(pg_catalog.>=) 16384)
 ORDER BY t.spcname LIMIT 10
"""


# The server notes who owns what or is named in grants and policies, but for the superuser who was
# first, whose number is 10.  An extension's members are made by whoever restores it.
def _roles(kinds: str, of_the_first: str) -> str:
    return f"""
SELECT pg_catalog.quote_ident(r.rolname),
       CASE WHEN r.rolname OPERATOR(pg_catalog.=) current_user THEN 'own' ELSE '' END,
       pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_roles r
 WHERE EXISTS (
       SELECT FROM pg_catalog.pg_shdepend s
         JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.dbid
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
          AND s.refclassid OPERATOR(pg_catalog.=)
              CAST('pg_catalog.pg_authid' AS pg_catalog.regclass)
          AND s.refobjid OPERATOR(pg_catalog.=) r.oid
          AND s.deptype OPERATOR(pg_catalog.=) ANY (CAST('{kinds}' AS pg_catalog."char"[]))
          AND s.classid OPERATOR(pg_catalog.<>)
              CAST('pg_catalog.pg_extension' AS pg_catalog.regclass)
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_depend e
               WHERE e.classid OPERATOR(pg_catalog.=) s.classid
                 AND e.objid OPERATOR(pg_catalog.=) s.objid
                 AND e.deptype OPERATOR(pg_catalog.=) 'e'))
    {of_the_first}
 ORDER BY r.rolname LIMIT 10
"""  # noqa: S608 - constants alone


def _owned_by_the_first(catalog: str, owner: str, row: str, more: str = "") -> str:
    return f"""EXISTS (
       SELECT FROM pg_catalog.{catalog} {row}
        WHERE {row}.{owner} OPERATOR(pg_catalog.=) r.oid
          AND {row}.oid OPERATOR(pg_catalog.>=) 16384 {more}
          AND {_not_of_an_extension(catalog, row)})"""


_OF_KIND = (
    "AND c.relkind OPERATOR(pg_catalog.=) ANY (CAST('{r,p,v,m,f,S,c}' AS pg_catalog.\"char\"[]))"
)
# Enums, domains and ranges: the others belong to relations and to other types.
_OF_TYPE = "AND t.typtype OPERATOR(pg_catalog.=) ANY (CAST('{e,d,r}' AS pg_catalog.\"char\"[]))"
OWNERS = _roles(
    "{o}",
    f"""OR r.oid OPERATOR(pg_catalog.=) 10 AND (
       {_owned_by_the_first("pg_class", "relowner", "c", _OF_KIND)}
    OR {_owned_by_the_first("pg_proc", "proowner", "f")}
    OR {_owned_by_the_first("pg_namespace", "nspowner", "n")}
    OR {_owned_by_the_first("pg_type", "typowner", "t", _OF_TYPE)})""",
)
GRANTEES = _roles("{a,i}", "")
# Some policies hold for certain roles alone.
ROLES_IN_POLICIES = _roles("{r}", "")
# Also in a file without owners.
ROLES_OF_USER_MAPPINGS = """
SELECT pg_catalog.quote_ident(m.usename),
       CASE WHEN m.usename OPERATOR(pg_catalog.=) current_user THEN 'own' ELSE '' END,
       pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_user_mappings m
 WHERE m.umuser OPERATOR(pg_catalog.<>) 0
 GROUP BY m.usename ORDER BY m.usename LIMIT 10
"""

# Functions that see the search_path of whoever calls them; a body of parsed statements (since 14)
# doesn't.  As JSON, a row may lack a column.
_SEES_THE_CALLERS_PATH = """l.lanname OPERATOR(pg_catalog.<>)
       ALL (CAST('{internal,c}' AS pg_catalog.name[]))
   AND NOT coalesce(pg_catalog.array_to_string(p.proconfig, ',')
                    OPERATOR(pg_catalog.~) '(^|,)search_path=', false)
   AND pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>)
       CAST('prosqlbody' AS pg_catalog.text) IS NULL"""

# With rows.
MATERIALIZED_VIEWS = f"""
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
       pg_catalog.format('%I.%I', h.nspname, p.proname), pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) c.oid
  JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) w.oid
   AND d.classid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_rewrite' AS pg_catalog.regclass)
   AND d.refclassid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_proc' AS pg_catalog.regclass)
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
  JOIN pg_catalog.pg_namespace h ON h.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 WHERE c.relkind OPERATOR(pg_catalog.=) 'm' AND c.relispopulated
   AND {_SEES_THE_CALLERS_PATH}
 ORDER BY n.nspname, c.relname, p.oid LIMIT 10
"""  # noqa: S608 - constants alone

# What a restore calls for each row: functions of constraints (of tables and of domains) that hold
# for the rows that are there, of generated columns, of indexes and of the keys of partitions.  Up
# to 14 it is the column that depends on the function, later its expression.  PostgreSQL's own
# functions are left out first, so that few of the dependencies have to be read.
ROW_FUNCTIONS = f"""
SELECT pg_catalog.format('%I.%I', n.nspname, coalesce(c.relname, t.typname)),
       pg_catalog.format('%I.%I', h.nspname, p.proname), pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
   AND d.refclassid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_proc' AS pg_catalog.regclass)
  JOIN pg_catalog.pg_namespace h ON h.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  LEFT JOIN pg_catalog.pg_constraint k ON k.oid OPERATOR(pg_catalog.=) d.objid
   AND d.classid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_constraint' AS pg_catalog.regclass)
   AND k.contype OPERATOR(pg_catalog.=) 'c' AND k.convalidated
  LEFT JOIN pg_catalog.pg_attrdef f ON f.oid OPERATOR(pg_catalog.=) d.objid
   AND d.classid OPERATOR(pg_catalog.=) CAST('pg_catalog.pg_attrdef' AS pg_catalog.regclass)
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) f.adrelid
   AND a.attnum OPERATOR(pg_catalog.=) f.adnum AND a.attgenerated OPERATOR(pg_catalog.=) 's'
  LEFT JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) k.contypid
  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) coalesce(k.conrelid, a.attrelid,
       CASE WHEN d.classid OPERATOR(pg_catalog.=)
                 CAST('pg_catalog.pg_class' AS pg_catalog.regclass) THEN d.objid END)
  JOIN pg_catalog.pg_namespace n
    ON n.oid OPERATOR(pg_catalog.=) coalesce(c.relnamespace, t.typnamespace)
 WHERE p.oid OPERATOR(pg_catalog.>=) 16384 AND {_SEES_THE_CALLERS_PATH}
 GROUP BY n.nspname, c.relname, t.typname, h.nspname, p.proname
 ORDER BY n.nspname, c.relname, t.typname, h.nspname, p.proname LIMIT 10
"""  # noqa: S608 - constants alone

# What one transaction locks that makes all of it again, but for a few: what is in pg_class, what
# tables have in TOAST, too; where ALTER sets owners, rows' types and large objects; constraints.
LOCKS = """
SELECT '', '', pg_catalog.count(*)
       OPERATOR(pg_catalog.+) pg_catalog.count(
           CASE WHEN c.reltype OPERATOR(pg_catalog.<>) 0 THEN 1 END)
       OPERATOR(pg_catalog.+) CAST((
           SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint k
            WHERE k.oid OPERATOR(pg_catalog.>=) 16384) AS pg_catalog.int8)
       OPERATOR(pg_catalog.+) CAST((
           SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata) AS pg_catalog.int8)
  FROM pg_catalog.pg_class c
 WHERE c.oid OPERATOR(pg_catalog.>=) 16384 AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
"""

# What CREATE DATABASE is told, by the names of pg_database's columns, which differ among versions.
LOCALE = """
SELECT e.key, CASE WHEN e.key OPERATOR(pg_catalog.=) 'encoding'
                   THEN CAST(pg_catalog.pg_encoding_to_char(d.encoding) AS pg_catalog.text)
                   ELSE e.value END, pg_catalog.count(*) OVER ()
  FROM pg_catalog.pg_database d
 CROSS JOIN LATERAL pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(d)) AS e
 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
   AND e.key OPERATOR(pg_catalog.=) ANY (CAST(
       '{encoding,datcollate,datctype,datlocprovider,daticulocale,datlocale,daticurules}'
       AS pg_catalog.text[]))
 ORDER BY e.key LIMIT 10
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


def rollback() -> str:
    """Returns what ends the transaction of a message that failed on its way."""
    return "ROLLBACK"
