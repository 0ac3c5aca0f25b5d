#!/usr/bin/env bash
# Prepares the data directory on the first start, then becomes the server.
# Understands the environment that compose files set for the public postgres image.
set -Eeuo pipefail

die() { printf 'postgres entrypoint: %s\n' "$*" >&2; exit 1; }
note() { printf 'postgres entrypoint: %s\n' "$*" >&2; }

# NAME, else the content of the file that NAME_FILE names (a compose secret), else the default.
setting() {
  local name=$1 default=${2-} file_name=${1}_FILE
  local value=${!name-} file=${!file_name-}
  if [[ -n $value && -n $file ]]; then die "both $name and $file_name are set: keep one"; fi
  if [[ -n $file ]]; then
    value=$(<"$file") || die "cannot read $file, which $file_name names"
  fi
  printf '%s' "${value:-$default}"
}

as_root_prepare() {
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  install -d -o postgres -g postgres -m 3777 /var/run/postgresql
  find "$PGDATA" \! -user postgres -exec chown postgres {} +
  chmod 0700 "$PGDATA"
}

sql() { psql -X -v ON_ERROR_STOP=1 --no-password --username "$user" "$@"; }

create_cluster() {
  local -a extra=()
  # Words, as the public image takes them: --encoding=UTF8 --locale=C
  [[ -z $initdb_args ]] || eval "extra=($initdb_args)"
  if [[ -n $password ]]; then
    initdb --username="$user" --pwfile=<(printf '%s\n' "$password") "${extra[@]}"
  else
    initdb --username="$user" "${extra[@]}"
  fi
  # initdb lets the socket and the loopback in; everything else needs the password.
  printf '\nhost all all all %s\n' "$host_auth" >> "$PGDATA/pg_hba.conf"
}

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    [[ -e $file ]] || continue
    case $file in
      *.sh)
        note "running $file"
        # shellcheck disable=SC1090  # the stand's own file, unknown here
        if [[ -x $file ]]; then "$file"; else . "$file"; fi ;;
      *.sql)    note "loading $file"; sql --dbname "$database" -f "$file" ;;
      *.sql.gz) note "loading $file"; gunzip -c "$file" | sql --dbname "$database" ;;
      *)        note "passing over $file: neither .sh, .sql nor .sql.gz" ;;
    esac
  done
}

first_start() {
  local user password database initdb_args host_auth
  user=$(setting POSTGRES_USER postgres)
  password=$(setting POSTGRES_PASSWORD)
  database=$(setting POSTGRES_DB "$user")
  initdb_args=$(setting POSTGRES_INITDB_ARGS)
  host_auth=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [[ -z $password && $host_auth != trust ]]; then
    die 'POSTGRES_PASSWORD is empty: set it, or POSTGRES_HOST_AUTH_METHOD=trust to do without'
  fi
  # What init scripts expect to find, wherever the values came from.
  export POSTGRES_USER=$user POSTGRES_DB=$database POSTGRES_PASSWORD=$password

  create_cluster

  # On the socket only: nobody outside may take the half-made database for the real one.
  local options
  printf -v options '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}"
  pg_ctl -D "$PGDATA" -o "$options" -w start
  if [[ $database != postgres ]]; then
    sql --dbname postgres --set db="$database" <<< 'CREATE DATABASE :"db";'
  fi
  run_init_files
  pg_ctl -D "$PGDATA" -m fast -w stop
  note 'first start done'
}

case ${1-} in -*) set -- postgres "$@" ;; esac

if [[ ${1-} == postgres ]]; then
  if ((EUID == 0)); then
    as_root_prepare
    export HOME=/var/lib/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
  fi
  if [[ ! -s $PGDATA/PG_VERSION ]]; then
    # PID 1 ignores signals that it has no handler for, and bash runs a handler only
    # between commands or in a wait: hence the background.
    trap 'exit 143' INT TERM
    first_start "${@:2}" &
    wait "$!"
    trap - INT TERM
  fi
fi

exec "$@"
