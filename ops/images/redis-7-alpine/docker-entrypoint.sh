#!/bin/sh
# Gives the server its own user and the public image's defaults, then becomes it.
set -eu

# Options or a configuration file alone mean the server.
case ${1-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac

# The public build has protected mode off, else no other container could connect to a
# server without a password. A stand that names the setting itself keeps its choice.
unprotect() {
  for word in "$@"; do
    case $word in
      *protected-mode*) return 1 ;;
      -v | --version | -h | --help | --test-memory | --check-system) return 1 ;;
    esac
  done
  case ${2-} in
    '' | -*) ;;
    *) if grep -qiE '^[[:space:]]*protected-mode' "$2" 2>/dev/null; then return 1; fi ;;
  esac
}

if [ "${1-}" = redis-server ]; then
  if unprotect "$@"; then
    set -- "$@" --protected-mode no
  fi
  if [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis {} +
    exec setpriv --reuid=redis --regid=redis --init-groups "$@"
  fi
fi

exec "$@"
