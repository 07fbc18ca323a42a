# Starts PostgreSQL, and makes the database in $PGDATA first when there is none.
# POSTGRES_PASSWORD, or the file that POSTGRES_PASSWORD_FILE names, is then the
# password of the superuser, whose name is POSTGRES_USER (postgres by default).
# Arguments are passed on to the server.
set -eu

for bin in "${PGBIN:-}" /usr/libexec/postgresql* /usr/lib/postgresql/*/bin /usr/bin; do
    [ -x "$bin/postgres" ] && break
done
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "postgres: no database in $PGDATA, and no password for a new one: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" >&2
        exit 64
    fi
    umask 077
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/postgres-password
    "$bin/initdb" --pgdata="$PGDATA" --username="${POSTGRES_USER:-postgres}" --encoding=UTF8 --locale=C \
        --auth-local=scram-sha-256 --auth-host=scram-sha-256 --pwfile=/tmp/postgres-password
    rm /tmp/postgres-password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi
unset POSTGRES_PASSWORD
exec "$bin/postgres" -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
