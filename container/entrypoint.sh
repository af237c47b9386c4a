#!/bin/sh
# Starts medvqa in the container. The trail's password comes from a file (a secret), and libpq reads it from the
# environment: it is in no URL, no setting and no row of the trail.
set -eu

if [ -n "${DATABASE_PASSWORD_FILE:-}" ]; then
    if [ ! -r "$DATABASE_PASSWORD_FILE" ]; then
        echo "entrypoint.sh: the password file $DATABASE_PASSWORD_FILE cannot be read; mount the secret" >&2
        exit 8
    fi
    PGPASSWORD=$(cat "$DATABASE_PASSWORD_FILE")
    export PGPASSWORD
fi
exec medvqa "$@"
