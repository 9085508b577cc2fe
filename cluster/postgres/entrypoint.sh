#!/bin/sh
# Makes the database on the first start, then becomes the server. Runs as any non-root user; it
# writes to PGDATA and to the socket directory only, so the root file system can be read-only.
#
#   POSTGRES_PASSWORD  (required on the first start)
#   POSTGRES_USER      the superuser, default postgres
#   POSTGRES_DB        a database to create, default the user's name
#   PGDATA             where the data are
set -eu

sockets=/var/run/postgresql
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

# Options given alone go to the server.
case ${1:-postgres} in
    -*) set -- postgres "$@" ;;
esac
if [ "${1:-postgres}" != postgres ]; then
    exec "$@"
fi
[ $# -eq 0 ] || shift

# initdb wants a name for the user id; a pod may run under one the image does not know.
if ! id -un >/dev/null 2>&1; then
    echo "user id $(id -u) is not in /etc/passwd; run the pod with runAsUser: 999" >&2
    exit 1
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "POSTGRES_PASSWORD is not set and there is no database in $PGDATA yet" >&2
        exit 1
    fi
    # Made beside it and renamed when whole: a start that is cut short is simply done again.
    draft=$PGDATA.draft
    rm -rf "$draft"
    mkdir -p "$(dirname "$PGDATA")"
    # The password goes in by a here-document: no argument list and no file ever holds it.
    # Only who is inside the container gets in without one, so that `kubectl exec` psql works.
    initdb --pgdata="$draft" --username="$user" --pwfile=/dev/stdin --encoding=UTF8 \
        --auth-local=trust --auth-host=scram-sha-256 <<EOF
$POSTGRES_PASSWORD
EOF
    echo 'host all all all scram-sha-256' >> "$draft/pg_hba.conf"
    if [ "$database" != postgres ]; then
        # Single-user mode: nobody can connect before the database is complete.
        name=$(printf %s "$database" | sed 's/"/""/g')
        echo "CREATE DATABASE \"$name\"" | postgres --single -D "$draft" postgres >/dev/null
    fi
    rm -rf "$PGDATA"
    mv "$draft" "$PGDATA"
fi

# Without a place for the socket there is still the network.
[ -w "$sockets" ] || sockets=

unset POSTGRES_PASSWORD
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories="$sockets" "$@"
