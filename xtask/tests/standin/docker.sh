# A stand-in for docker with one database container: /tmp/ of the container is `container/tmp/`
# beside this file, its programs are those in `inside/`. A process in it lives on when the client
# is gone, as with docker. Fails on a call that it does not know.
here=$(dirname "$0")
root=$here/container
mode=$(cat "$here/mode")
id=$(cat "$here/id")
printf '%s\n' "$*" >> "$here/docker.calls"
if [ "$1" = --context ]; then shift 2; fi
case $1 in
  compose)
    case " $* " in
      *' ps -q postgres ') ;;
      *) echo "no such service: ${*##* }" >&2; exit 1 ;;
    esac
    echo 'time="x" level=warning msg="the attribute `version` is obsolete"' >&2
    if [ "$mode" != stopped ]; then echo "$id"; fi
    ;;
  cp)
    case $mode in full*) echo 'write: no space left on device' >&2; [ "$mode" = full-and-0 ] || exit 1 ;; esac
    cp "$root${2#*:}" "$3"
    ;;
  exec)
    shift
    while :; do
      case $1 in
        -i) shift ;;
        -e | -u | -w) shift 2 ;;
        *) break ;;
      esac
    done
    [ "$1" = "$id" ] || { echo "Error response from daemon: No such container: $1" >&2; exit 1; }
    shift
    left=$#
    while [ $left -gt 0 ]; do
      word=$(printf '%s' "$1" | sed "s#/tmp/#$root/tmp/#g")
      shift
      set -- "$@" "$word"
      left=$((left - 1))
    done
    exec 3<&0
    PATH=$here/inside:$PATH FF_HERE=$here FF_MODE=$mode POSTGRES_USER=admin POSTGRES_DB=foxproflow \
      setsid "$@" <&3 &
    wait $!
    ;;
  *) echo "stand-in: unknown call: docker $*" >&2; exit 1 ;;
esac
