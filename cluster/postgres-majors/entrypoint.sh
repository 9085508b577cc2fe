#!/bin/sh
# Makes and starts a server of each major that is named. It listens at the port 543 followed by its
# major, and has the superuser postgres with POSTGRES_PASSWORD. Its data go with the container.
set -eu

serve() {
    server=$1 data=/var/lib/postgresql/data/${1##*/}
    export LD_LIBRARY_PATH="$server/lib"
    "$server/bin/initdb" --pgdata="$data" --username=postgres --pwfile=/dev/stdin --encoding=UTF8 \
        --auth=scram-sha-256 --no-sync >/dev/null <<PASSWORD
$POSTGRES_PASSWORD
PASSWORD
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    unset POSTGRES_PASSWORD
    exec "$server/bin/postgres" -D "$data" -p "543${server##*/}" -c listen_addresses='*' \
        -c unix_socket_directories= -c fsync=off -c full_page_writes=off -c shared_buffers=32MB
}

servers=
trap 'kill -INT $servers' INT TERM
for major; do
    serve "/opt/postgresql/$major" &
    servers="$servers $!"
done
wait
