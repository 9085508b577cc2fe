"""A connection URI as people have it: libpq's own forms, and those of other drivers.

Other drivers' schemes become libpq's, and so do their words for TLS; their parameters that say
nothing of where and how safely to connect are left out and told by name.  libpq reads the rest
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from psycopg import pq

from backupexport_runner.postgres.libpq import parse_uri

# The strictest last.
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# JDBC, and SQLAlchemy's with a driver's name.
_SCHEME = re.compile(r"(jdbc:)?postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_NAME = re.compile("[A-Za-z][A-Za-z0-9_.-]{0,62}")

# Of pools, of caches for prepared statements, of time limits, and of the session: the runner has no
# pool, its own limits, and settings of its own for the session.  In small letters, with `_`.
_HARMLESS_BY_DRIVER = {
    "Prisma": "schema connection_limit pool_timeout pgbouncer socket_timeout statement_cache_size "
    "max_connection_lifetime max_idle_connection_lifetime single_use_connections",
    "JDBC": "currentschema applicationname preparethreshold preparedstatementcachequeries "
    "preparedstatementcachesizemib binarytransfer rewritebatchedinserts defaultrowfetchsize "
    "logintimeout connecttimeout sockettimeout tcpkeepalive autosave stringtype readonly "
    "loadbalancehosts preferquerymode assumeminserverversion cancelsignaltimeout adaptivefetch",
    "asyncpg, SQLAlchemy, Django": "prepared_statement_cache_size prepared_statement_name_func "
    "command_timeout timeout max_cached_statement_lifetime max_cacheable_statement_size "
    "async_fallback conn_max_age conn_health_checks disable_server_side_cursors",
    "pgx, lib/pq, sqlx": "pool_max_conns pool_min_conns pool_max_conn_lifetime "
    "pool_max_conn_lifetime_jitter pool_max_conn_idle_time pool_health_check_period "
    "default_query_exec_mode statement_cache_mode statement_cache_capacity "
    "description_cache_capacity binary_parameters",
    "node-postgres": "idletimeoutmillis connectiontimeoutmillis query_timeout keepalive max min "
    "uselibpqcompat",
    "Rails, Ecto, Supabase": "pool pool_size checkout_timeout reaping_frequency idle_timeout "
    "prepared_statements prepare adapter encoding min_messages workaround supa",
    "the server's own, for the session": "search_path statement_timeout lock_timeout "
    "idle_in_transaction_session_timeout datestyle intervalstyle extra_float_digits timezone",
}
_HARMLESS = frozenset(" ".join(_HARMLESS_BY_DRIVER.values()).split())
_SSLMODE_OF_SSL = {
    "true": "require",
    "1": "require",
    "no-verify": "require",
    "false": "disable",
    "0": "disable",
}
_TARGET_SERVER_TYPES = {
    "any": "any",
    "primary": "primary",
    "master": "primary",
    "secondary": "standby",
    "slave": "standby",
    "preferSecondary": "prefer-standby",
    "preferSlave": "prefer-standby",
}


# Npgsql has spaces in its words: "SSL Mode".
_TLS_WISH = re.compile(r"(?:^|[?&;\s])(?:ssl|tls)[\w ]*=", re.IGNORECASE)


class UnsupportedParameterError(ValueError):
    """The URI has a parameter that is neither libpq's nor harmless; `name` may be shown."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class ConnectionUri:
    """A URI's parts under libpq's keywords, and the other drivers' parameters that are left out."""

    parts: dict[str, str]
    ignored: dict[str, str]


def read_uri(text: str) -> ConnectionUri:
    """Returns the parts of a URI or of libpq's keyword string.

    Raises UnsupportedParameterError, else ValueError where libpq can't read it.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return ConnectionUri(parse_uri(text), {})
    is_jdbc = scheme[1] is not None
    rest, separator, query = _split(text[scheme.end() :])
    ignored: dict[str, str] = {}
    kept, translated = [], []
    for pair in query.split("&") if separator else []:
        name, _, value = (unquote(part) for part in pair.partition("="))
        ours = _translated(name, value, is_jdbc=is_jdbc)
        if ours is not None:
            translated.append(ours)
        elif name in _keywords():
            kept.append(pair)
        elif name.lower().replace("-", "_") in _HARMLESS:
            ignored[name] = value
        elif "=" in pair and _NAME.fullmatch(name) and "@" not in query:
            raise UnsupportedParameterError(name)
        else:
            # A piece of a password that isn't encoded, perhaps.
            raise ValueError("libpq can't read it")
    parts = parse_uri(f"postgresql://{rest}" + ("?" + "&".join(kept) if kept else ""))
    for keyword, value in translated:
        if keyword != "sslmode" or parts.get(keyword) is None:
            parts[keyword] = value
        elif parts[keyword] in SSLMODES:
            parts[keyword] = max(parts[keyword], value, key=SSLMODES.index)
    return ConnectionUri(parts, ignored)


def asks_for_tls(text: str) -> bool:
    """Returns whether a text that nobody can read says something of TLS."""
    return _TLS_WISH.search(text) is not None


def _split(text: str) -> tuple[str, str, str]:
    """Returns what is before the parameters, `?`, and the parameters, as libpq finds them."""
    # A user's password may have a question mark.
    authority = re.match("[^@/]*@", text)
    head = authority[0] if authority else ""
    rest, separator, query = text[len(head) :].partition("?")
    return head + rest, separator, query


def _translated(name: str, value: str, *, is_jdbc: bool) -> tuple[str, str] | None:
    """Returns libpq's keyword and value for another driver's, None where it is none of them."""
    if asks_for_tls(value):
        # Behind some other separator: what is said of TLS would go with this parameter.
        raise UnsupportedParameterError(name)
    if name == "sslmode" and value in SSLMODES:
        # Of several libpq would take the last.
        return name, value
    if name == "ssl":
        # https://jdbc.postgresql.org/documentation/use/#connection-parameters
        if is_jdbc and value in ("", "true"):
            return "sslmode", "verify-full"
        mode = value if value in SSLMODES else _SSLMODE_OF_SSL.get(value.lower())
        if mode is None:
            raise UnsupportedParameterError(name)
        return "sslmode", mode
    if name == "sslaccept":
        # https://www.prisma.io/docs/orm/overview/databases/postgresql
        if value not in ("strict", "accept_invalid_certs"):
            raise UnsupportedParameterError(name)
        return "sslmode", "verify-full" if value == "strict" else "require"
    if name == "targetServerType":
        if value not in _TARGET_SERVER_TYPES:
            raise UnsupportedParameterError(name)
        return "target_session_attrs", _TARGET_SERVER_TYPES[value]
    return None


def _keywords() -> set[str]:
    return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
