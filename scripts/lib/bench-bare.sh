#!/usr/bin/env bash
# The commands that a release wraps, as a script of plain commands would run them: what
# scripts/bench holds the release against. Proves nothing, goes back from nothing.
# Runs in a copy of the sample stand and prints one line `<part> <milliseconds>` a part.
#   bench-bare.sh release  plain|tight PORT SOAK_SECONDS
#   bench-bare.sh downtime PORT       images are built before, which is not counted
#   bench-bare.sh dump DATABASE FILE
# plain: one command after the other; the worker asked by celery's own command line.
# tight: as fast as plain commands go: all SQL in one psql, the worker asked by one Python
#        process, and asked while the soak runs.
set -euo pipefail

APP=(api worker beat)
CELERY=(celery -A src.worker.celery_app)

# The files of the release and of its verification, in their order.
sql_files() {
  sed -n '/^files = \[/,/^\]/s/^ *"\(.*\)",*$/\1/p' ops/xtask.toml
  grep -vE '^[[:space:]]*($|#|;|--)' scripts/sql/verify/suites/gate.txt
}

now() { printf '%s' "${EPOCHREALTIME/[.,]/}"; }

BEGAN=$(now) LAST=$BEGAN
part() {
  local at
  at=$(now)
  printf '%s %d\n' "$1" $(((at - LAST) / 1000))
  LAST=$at
}

compose() { docker compose --ansi never "$@"; }

# until_good SECONDS COMMAND...: again and again, without a pause.
until_good() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < until)) || { echo "bench-bare: not good in time: $*" >&2; exit 1; }
  done
}

# answers PATH FILTER...: does the API answer with 200 and what the smoke demands?
answers() {
  local body
  body=$(curl --silent --fail --max-time 5 "http://127.0.0.1:$PORT$1") && [[ $body == *"$2"* ]]
}

first_answer() { until_good 60 answers /health '"status":"ok"'; }

http_checks() {
  until_good 60 answers /health/extended '"ready":true'
  until_good 60 answers /api/crm/smoke/ping '"ok":true'
  until_good 60 answers '/api/devfactory/orders/recent?limit=1&include_result=0' '"ok":true'
}

in_worker() { compose exec -T worker "$@"; }

ping_worker() { in_worker "${CELERY[@]}" inspect ping -d "celery@$NODE" -t 1 >/dev/null 2>&1; }

round_trip() {
  local id
  id=$(in_worker "${CELERY[@]}" call celery.accumulate --args='[19, 23]' 2>/dev/null) || return 1
  [[ $(in_worker "${CELERY[@]}" result "${id//$'\r'/}" 2>/dev/null) == *'[19, 23]'* ]]
}

ask_worker() {
  compose exec -T worker python - >/dev/null <<'PY'
import os, socket
from celery.app.utils import find_app
app = find_app("src.worker.celery_app")
node = "celery@" + socket.gethostname()
while not app.control.inspect(destination=[node], timeout=0.3).ping():
    pass
assert app.send_task("celery.accumulate", args=[19, 23]).get(timeout=30, interval=0.02) == [19, 23]
os._exit(0)
PY
}

state() {
  local ids
  ids=$(compose ps -aq)
  # shellcheck disable=SC2086  # one id a word
  docker inspect --format '{{.Id}} {{.State.Running}} {{.State.StartedAt}} {{.RestartCount}}' $ids | sort
}

# Containers, start times and restart counts stay as they are.
soak() {
  local before after
  before=$(state)
  sleep "$1"
  after=$(state)
  [[ $before == "$after" && $after != *' false '* ]] || { echo 'bench-bare: a service did not stay up' >&2; exit 1; }
}

dump() { compose exec -T postgres pg_dump -U foxproflow -Fc -Z1 "$1" >"$2"; }

psql_each() {
  local file
  while read -r file; do
    compose exec -T -w /tmp/bench_sql postgres psql -U foxproflow -d foxproflow \
      -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" </dev/null >/dev/null
  done < <(sql_files)
}

psql_all() {
  local file
  local -a words=()
  while read -r file; do words+=(-f "$file"); done < <(sql_files)
  compose exec -T -w /tmp/bench_sql postgres psql -U foxproflow -d foxproflow \
    -X -q -v ON_ERROR_STOP=1 -o /dev/null "${words[@]}" </dev/null >/dev/null
}

copy_sql() { tar -cf - scripts/sql | compose exec -T postgres sh -c 'mkdir -p /tmp/bench_sql && tar -xf - -C /tmp/bench_sql'; }

release() {
  local way=$1 stopped
  PORT=$2
  compose build "${APP[@]}" >/dev/null 2>&1
  part build
  dump foxproflow ../bench-bare.dump
  part dump
  copy_sql
  part 'copy sql'
  stopped=$(now)
  compose stop -t 30 "${APP[@]}" 2>/dev/null
  part stop
  case $way in plain) psql_each ;; tight) psql_all ;; esac
  part sql
  compose up -d --no-deps --no-build "${APP[@]}" 2>/dev/null
  part up
  if [[ $way == tight ]]; then
    soak "$3" &
    ask_worker &
  fi
  first_answer
  part 'first answer'
  printf 'downtime %d\n' $((($(now) - stopped) / 1000))
  http_checks
  part 'other answers'
  if [[ $way == plain ]]; then
    NODE=$(in_worker hostname)
    until_good 60 ping_worker
    part 'worker ping'
    until_good 60 round_trip
    part 'round trip'
    soak "$3"
    part soak
  else
    wait -n
    wait -n
    part 'worker beside soak'
  fi
  printf 'total %d\n' $((($(now) - BEGAN) / 1000))
}

downtime() {
  PORT=$1
  compose build "${APP[@]}" >/dev/null 2>&1
  BEGAN=$(now) LAST=$BEGAN
  compose stop -t 30 "${APP[@]}" 2>/dev/null
  part stop
  compose up -d --no-deps --no-build "${APP[@]}" 2>/dev/null
  part up
  first_answer
  part 'first answer'
  printf 'total %d\n' $((($(now) - BEGAN) / 1000))
}

case $1 in
  release) release "$2" "$3" "$4" ;;
  downtime) downtime "$2" ;;
  dump) dump "$2" "$3"; printf 'total %d\n' $((($(now) - BEGAN) / 1000)) ;;
  *) echo "bench-bare: unknown: $1" >&2; exit 2 ;;
esac
