#!/bin/sh
# start.sh [lite] [ARGUMENT ...]: starts the stack, or what `docker compose` is asked with the arguments.
# Passwords and what else is chosen are in .env, which the first start makes.
set -eu
cd "$(dirname "$0")"
docker compose version >/dev/null 2>&1 || { echo "needs Docker with its Compose plugin" >&2; exit 1; }
if test ! -e .env; then
    (umask 077; {
        echo "# Made by start.sh; keep it, as Elasticsearch remembers the passwords."
        echo "KEEP_DAYS=14 # of logs, spans, dependency links, alerts and metrics"
        for name in ELASTIC KIBANA LOGSTASH ZIPKIN ELASTALERT KEEPER READER; do
            echo "${name}_PASSWORD=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
        done
        echo "KIBANA_KEY=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
    } > .env.new)
    mv .env.new .env
    echo "made .env; Kibana lets in reader, with READER_PASSWORD"
fi
days=$(sed -n 's/^KEEP_DAYS=\([0-9]*\).*/\1/p' .env)
export KEEP_DAYS="${KEEP_DAYS:-${days:-14}}"
export KEEP_MS=$((KEEP_DAYS * 86400000))
file=compose.yaml
if test "${1:-}" = lite; then file=lite.yaml; shift; fi
test $# -gt 0 || set -- up --detach
exec docker compose --file "$file" "$@"
