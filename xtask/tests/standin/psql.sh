# psql in the stand-in's container: there is no server.
echo asked >> "$FF_HERE/psql.asked"
echo 'psql: error: connection to server failed' >&2
exit 2
