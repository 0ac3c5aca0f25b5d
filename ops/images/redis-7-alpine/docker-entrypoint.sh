#!/bin/sh
# Gives the server its own user, as the public image does, then becomes it.
set -eu

# Options or a configuration file alone mean the server.
case ${1-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find . \! -user redis -exec chown redis {} +
  exec setpriv --reuid=redis --regid=redis --init-groups "$@"
fi

exec "$@"
