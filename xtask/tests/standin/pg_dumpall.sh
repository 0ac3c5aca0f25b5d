# pg_dumpall in the stand-in's container.
while [ $# -gt 0 ] && [ "$1" != -f ]; do shift; done
printf -- '--\n\\restrict %s\n' $$ > "$2"
