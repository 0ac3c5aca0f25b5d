# pg_restore in the stand-in's container: reads an archive to its end.
case "$(cat)" in
  *END) ;;
  *) echo 'pg_restore: error: could not read from input file: end of file' >&2; exit 1 ;;
esac
