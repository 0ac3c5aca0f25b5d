# pg_dump in the stand-in's container.
while [ $# -gt 0 ] && [ "$1" != -f ]; do shift; done
file=$2
echo $$ > "$FF_HERE/pg_dump.tmp" && mv "$FF_HERE/pg_dump.tmp" "$FF_HERE/pg_dump.pid"
printf 'PGDMP half' > "$file"
case $FF_MODE in
  no-database)
    : > "$file"
    echo 'pg_dump: error: connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: FATAL:  database "foxproflow" does not exist' >&2
    exit 1
    ;;
  hangs | dies)
    # Opening a pipe to which nobody writes: no end by itself, and this command line stays.
    while :; do read -r _ < "$FF_HERE/never"; done
    ;;
  stubborn)
    trap '' TERM
    while :; do read -r _ < "$FF_HERE/never"; done
    ;;
  cut) ;;
  *) printf ' and the whole END' >> "$file" ;;
esac
