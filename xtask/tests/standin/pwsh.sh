# A stand-in for PowerShell 7 with scripts/pwsh/ff-backup.ps1: does what both were measured to do,
# with the same calls of docker. The test puts a first line before this and a word into the file
# `mode` beside it.
here=$(dirname "$0")
mode=$(cat "$here/mode")
if [ "$1" = --version ]; then echo 'PowerShell 7.6.5'; exit 0; fi
printf '%s\n' "$@" > "$here/pwsh.argv"
env > "$here/pwsh.env"
readlink "/proc/$$/fd/0" > "$here/pwsh.stdin"
echo $$ > "$here/pwsh.tmp" && mv "$here/pwsh.tmp" "$here/pwsh.pid"

# Switches of pwsh, then the script, then its parameters.
while [ $# -gt 0 ] && [ "$1" != -File ]; do shift; done
script=$2
if [ "$mode" = usage ] || [ ! -f "$script" ]; then
  printf '%s\n' "The argument '$script' is not recognized as the name of a script file." '' \
    'Usage: pwsh[.exe] [-Login] [[-File] <filePath> [args]]'
  exit 64
fi
shift 2
service=postgres
while [ $# -gt 0 ]; do
  case $1 in
    -BackupDir) into=$2 ;;
    -ComposeFile) compose=$2 ;;
    -ProjectName) project=$2 ;;
    -PgService) service=$2 ;;
    *) echo "A parameter cannot be found that matches parameter name '$1'." >&2; exit 1 ;;
  esac
  shift 2
done

# On SIGINT `finally` runs and the code is 0. What runs in the container runs on.
trap 'exit 0' INT

fail() {
  printf '\033[31;1mException: \033[0m%s:361\033[0m\n\033[36;1m     | \033[31;1m%s See the log in\033[0m\n' \
    "$script" "$1" >&2
  exit 1
}
now() { date -u +%Y-%m-%dT%H:%M:%S.123+00:00; }

# logged FILE HEAD... -- COMMAND...: runs it, writes head, exit code and output into the log.
logged() {
  file=$dir/$1
  shift
  head=$(printf 'ts=%s' "$(now)")
  while [ "$1" != -- ]; do head=$(printf '%s\n%s' "$head" "$1"); shift; done
  shift
  # A trap waits for a child in the foreground, and not for `wait`.
  "$@" > "$here/out" 2>&1 < /dev/null &
  wait $!
  code=$?
  if [ "$mode" = full ]; then : > "$file"; else
    printf '%s\nexit_code=%s\n\n%s\n\n' "$head" "$code" "$(cat "$here/out")" > "$file"
  fi
  return $code
}

[ -f "$compose" ] || fail 'compose file is missing.'
stamp=$(date -u +%Y%m%d-%H%M%S)
[ "$mode" != same-second ] || stamp=20260101-000000
dir=$into/$stamp
mkdir "$dir" 2>/dev/null || [ -d "$dir" ] || fail 'BackupDir cannot be written to.'
if [ "$mode" = nothing ]; then rmdir "$dir"; exit 0; fi
log=$dir/backup.log
printf 'ts=%s\nscript=ff-backup.ps1\nversion=stand-in\nout_dir=%s\n\n' "$(now)" "$dir" > "$log"
snapshot=snapshot_$(basename "$compose")
cp "$compose" "$dir/$snapshot"
printf 'POSTGRES_PASSWORD=***REDACTED***\r\n\n' > "$dir/snapshot_.env"

logged compose_ps_q.log "argv=docker compose -f $compose -p $project ps -q $service" -- \
  docker compose --ansi never -f "$compose" -p "$project" ps -q "$service" || fail 'docker compose ps failed.'
id=$(grep -E '^[0-9a-f]{12,}$' "$here/out")
[ -n "$id" ] || fail 'postgres does not run.'
user=$(docker exec "$id" printenv POSTGRES_USER)
db=$(docker exec "$id" printenv POSTGRES_DB)
[ "$mode" != other-database ] || db=other
printf 'pg_container_id=%s\n\npg_user=%s\n\ndb_name=%s\n\n' "$id" "$user" "$db" >> "$log"
remote=/tmp/ff_backup_${stamp}

cmd="pg_dump -U \"$user\" -d \"$db\" -Fc --no-owner --no-privileges -f \"${remote}_$db.dump\""
if [ "$mode" = dies ]; then
  # The docker client is orphaned and holds standard output.
  docker exec "$id" sh -c "$cmd" &
  # And something that ends with nothing.
  sh -c 'echo $$ > "$1/orphan.pid"; while :; do read -r _ < "$1/never"; done' sh "$here" &
  while [ ! -e "$here/pg_dump.pid" ] || [ ! -s "$here/orphan.pid" ]; do :; done
  kill -KILL $$
fi
logged pg_dump_exec.log "cid=$id" "cmd=$cmd" -- docker exec "$id" sh -c "$cmd" ||
  fail "pg_dump failed (exit=$code)."
cmd="pg_dumpall -U \"$user\" --globals-only --no-role-passwords -f \"${remote}_globals.sql\""
logged pg_globals_exec.log "cid=$id" "cmd=$cmd" -- docker exec "$id" sh -c "$cmd" || fail 'pg_dumpall failed.'
dump=pg_$db.dump
logged docker_cp_dump.log "src=$id:${remote}_$db.dump" "dst=$dir/$dump" -- \
  docker cp "$id:${remote}_$db.dump" "$dir/$dump" || fail 'docker cp failed.'
logged docker_cp_globals.log "src=$id:${remote}_globals.sql" "dst=$dir/pg_globals.sql" -- \
  docker cp "$id:${remote}_globals.sql" "$dir/pg_globals.sql" || fail 'docker cp failed.'
docker exec "$id" rm -f "${remote}_$db.dump" "${remote}_globals.sql"
[ "$mode" != full-and-0 ] || : > "$dir/$dump"

if [ "$mode" = older ]; then mv "$dir/$dump" "$dir/db.dump"; dump=db.dump; fi
files="$snapshot $snapshot snapshot_.env $dump pg_globals.sql backup.log compose_ps_q.log pg_dump_exec.log \
  pg_globals_exec.log docker_cp_dump.log docker_cp_globals.log"
sum() { sha256sum "$dir/$1" | cut -c 1-64 | tr a-f A-F; }
for file in $files; do printf '%s  %s\r\n' "$(sum "$file")" "$file"; done > "$dir/digest.sha256"
echo >> "$dir/digest.sha256"
entries=''
for file in $files digest.sha256; do
  entries="$entries${entries:+,}
    {\"rel\": \"$file\", \"name\": \"$file\", \"bytes\": $(wc -c < "$dir/$file"), \"ts\": \"$(now)\", \"sha256\": \"$(sum "$file")\"}"
done
if [ "$mode" = older ]; then
  said="\"db\": {\"name\": \"$db\", \"user\": \"$user\"}, \"project_name\": \"$project\","
else
  said="\"script\": {\"name\": \"ff-backup.ps1\", \"version\": \"stand-in\"},
  \"compose\": {\"compose_files\": [\"$compose\"], \"project_name\": \"$project\", \"pg_service\": \"$service\"},
  \"postgres\": {\"container_id\": \"$id\", \"user\": \"$user\", \"db_name\": \"$db\"},"
fi
printf '{\n  "ts": "%s",\n  "out_dir": "%s",\n  %s\n  "files": [%s\n  ]\n}\n' \
  "$(now)" "$dir" "$said" "$entries" > "$dir/manifest.json"
printf 'manifest=%s\n\ndigest=%s\n\n' "$dir/manifest.json" "$dir/digest.sha256" >> "$log"

case $mode in
  flipped) printf X | dd of="$dir/$dump" bs=1 seek=3 conv=notrunc 2>/dev/null ;;
  second-run) echo of another run > "$dir/pg_second.dump" ;;
  elsewhere) mkdir "$here/elsewhere"; mv "$dir" "$here/elsewhere/"; dir=$here/elsewhere/$stamp ;;
  stale) rm -r "$dir"; dir=$into/20200101-000000 ;;
  no-manifest) rm "$dir/manifest.json" ;;
  silent) exit 0 ;;
esac
case $mode in
  windows) printf 'outDir: C:\\лис b\\%s\r\n' "$stamp" ;;
  terminal) printf '\033[?1h\033[?1loutDir: %s\n' "$dir" ;;
  *) printf 'outDir: %s\n' "$dir" ;;
esac
[ "$mode" != late ] || fail 'it cannot clean up.'
