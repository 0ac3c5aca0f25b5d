# shellcheck shell=bash
# The images of the sample stand: pulled where a registry answers, else equivalents of
# the same name built from Debian packages. No image gets its name before it has run.

BASE_IMAGE=debian:bookworm-slim
APP_IMAGE=foxproflow-demo-base:1
PUBLIC_IMAGES=(postgres:15 redis:7-alpine)

ANSWER_SECONDS=8            # for a registry's first word
PULL_SECONDS=900            # for the rest of a pull that has begun
EQUIVALENT='org.foxproflow.equivalent'

MISSING_IMAGES=()
REGISTRY=unknown            # no: one failed to answer, so none is asked again

# Names of this run only; another run's leftovers are recognised by the prefix.
scratch_name() { local name=${1//[:\/]/-}; printf 'foxproflow-setup/%s:run%d' "$name" "$$"; }

image_there() { ask_docker image inspect --format . "$1" | grep -q .; }

look_at_images() {
  local image there
  MISSING_IMAGES=()
  there=$(ask_docker image ls --format '{{.Repository}}:{{.Tag}}') || there=''
  for image in "${PUBLIC_IMAGES[@]}" "$APP_IMAGE"; do
    grep -qxF -- "$image" <<< "$there" || MISSING_IMAGES+=("$image")
  done
}

get_images() {
  local image
  local -a build=()
  remove_stale
  for image in "${MISSING_IMAGES[@]}"; do
    if [[ $image == "$APP_IMAGE" ]] || ! pull "$image"; then build+=("$image"); fi
  done
  ((${#build[@]})) || return 0
  image_there "$BASE_IMAGE" || pull "$BASE_IMAGE" || make_base
  build_all "${build[@]}"
}

# pull IMAGE: fails when no registry answers in time or it does not give the image.
pull() {
  local image=$1 began group
  [[ $REGISTRY != no ]] || return 1
  began=$(now)
  step_begin "asking the registry for $image"
  start timeout "$PULL_SECONDS" docker pull "$image"
  group=$REPLY
  if await_first_word "$group" && finish "$group"; then
    REGISTRY=yes
    step_ok "pulled, $(since "$began")"
  else
    REGISTRY=no
    end_group "$group"
    say "no ($(since "$began")): equivalents are built from Debian packages"
    return 1
  fi
}

# The client prints nothing until the registry has answered. The first word is looked for
# behind the log's present end.
await_first_word() {
  local group=$1 size deadline
  size=$(stat -c %s "$LOG")
  deadline=$(($(now) + ANSWER_SECONDS * 10))
  while kill -0 "$group" 2>/dev/null; do
    (($(stat -c %s "$LOG") == size)) || break
    (($(now) < deadline)) || { echo "no answer within $ANSWER_SECONDS s" >>"$LOG"; return 1; }
    sleep 0.1
  done
}

make_base() {
  refresh_once
  # Its absence is known only now: where a registry answers, none of this is needed.
  if ! command -v debootstrap >/dev/null && [[ ! -x /usr/sbin/debootstrap ]] || [[ ! -r $DEBIAN_KEYRING ]]; then
    step 'installing debootstrap with apt' apt_install debootstrap debian-archive-keyring
  fi
  step "building $BASE_IMAGE with debootstrap" build_base
}

build_base() {
  local name keyring=$DEBIAN_KEYRING mirror security
  name=$(scratch_name "$BASE_IMAGE")
  mirror=$(fetchable "$(uri_of Debian)")
  security=$(fetchable "$(uri_of Debian-Security)")
  [[ -n $mirror ]] || security=''
  local -a root=()
  ((EUID == 0)) || root=(sudo -n --preserve-env=http_proxy,https_proxy)
  # In namespaces of its own: killed, it takes its children and its mounts along.
  "${root[@]}" unshare --mount --pid --fork --kill-child \
    "$LIB/base-rootfs.sh" "$WORK" "$IMAGES/debian-bookworm-slim" "$keyring" \
    ${mirror:+"$mirror"} ${security:+"$security"} |
    docker import --change 'CMD ["bash"]' \
      --change "LABEL $EQUIVALENT=\"built from Debian packages\"" - "$name" || return 1
  as_root rm -rf --one-file-system "$WORK/rootfs"
  check_base "$name" && adopt_name "$name" "$BASE_IMAGE"
}

# fetchable URI: the same as a plain address that debootstrap's wget understands, or nothing.
fetchable() {
  local uri=$1
  # A list of mirrors in a file, as cloud images have it: its first entry.
  case $uri in
    mirror+file:*) uri=$(awk '/^https?:/ { print $1; exit }' "${uri#mirror+file:}" 2>/dev/null) ;;
  esac
  case $uri in http://* | https://*) printf '%s' "$uri" ;; esac
}

# A proxy that apt was told about is not in the environment of wget or docker build.
read_proxy() {
  local proxy=''
  PROXY_ARGS=()
  eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null)"
  proxy=${http_proxy:-$proxy}
  [[ -n $proxy && $proxy != DIRECT ]] || return 0
  # By the environment: it may hold a password, and arguments are shown to everybody.
  export http_proxy=$proxy https_proxy=${https_proxy:-$proxy}
  PROXY_ARGS=(--build-arg http_proxy --build-arg https_proxy)
}

# Side by side: each spends half of its time waiting for its downloads.
build_all() {
  local image group failed=''
  local -A group_of=()
  say "  building from Debian packages, side by side: $(joined "$@")"
  exec 8>&2             # the screen: the builds' own stderr goes to the log
  for image in "$@"; do
    start build_one "$image"
    group_of[$image]=$REPLY
  done
  for image in "$@"; do
    group=${group_of[$image]}
    finish "$group" || failed+=" $image"
  done
  exec 8>&-
  [[ -n $failed ]] || return 0
  for image in $failed; do show_tail "$(build_log "$image")"; done
  fail "could not build:$failed"
}

build_log() { printf '%s/build-%s.log' "$WORK" "${1//[:\/]/-}"; }

# In the background, with a log of its own so that the builds do not mix, and a line on
# the screen as soon as it is done.
build_one() {
  local image=$1 name began code=0 log
  name=$(scratch_name "$image") began=$(now) log=$(build_log "$1")
  {
    # The host's network: build containers behind a firewall or VPN often have none.
    # BuildKit, also where the client is old enough to prefer the builder before it.
    DOCKER_BUILDKIT=1 docker build --network host --progress plain "${PROXY_ARGS[@]}" --tag "$name" \
      "$IMAGES/${image//[:\/]/-}" && "check_${image%%:*}" "$name" && adopt_name "$name" "$image"
  } >"$log" 2>&1 || code=$?
  cat "$log"
  if ((code == 0)); then
    printf '    %s ... %s%s%s\n' "$image" "$C_GREEN" "$(since "$began")" "$C_OFF" >&8
  else
    printf '    %s ... %sfailed%s (%s)\n' "$image" "$C_RED" "$C_OFF" "$(since "$began")" >&8
  fi
  return "$code"
}

# The final name is given in one act, and only where it is still free.
adopt_name() {
  image_there "$2" || docker tag "$1" "$2" || return 1
  docker image rm "$1" >/dev/null
}

# run_check NAME ARG...: a throw-away container, known by its label.
run_check() { timeout --foreground 60 docker run --rm --label "foxproflow-setup=$$" --network none "$@"; }

check_base() { run_check "$1" sh -c 'apt-get --version && dpkg --audit'; }

check_foxproflow-demo-base() {
  run_check "$1" sh -c 'celery --version && uvicorn --version &&
    python -c "import celery, fastapi, psycopg2, redis, uvicorn"'
}

check_redis() { check_service "$1" redis-cli ping; }

check_postgres() {
  POSTGRES_PASSWORD=only-for-this-check check_service "$1" pg_isready -q -h 127.0.0.1 -U postgres
}

# check_service IMAGE PROBE...: starts it as a stand would, and waits until it serves.
check_service() {
  local image=$1 id tries good=1
  shift
  id=$(docker run --detach --label "foxproflow-setup=$$" --network none --env POSTGRES_PASSWORD "$image") || return 1
  for ((tries = 0; tries < 150; tries++)); do
    if docker exec "$id" "$@"; then good=0; break; fi
    sleep 0.2
  done
  ((good == 0)) || docker logs "$id"
  docker rm --force --volumes "$id" >/dev/null
  return "$good"
}

# Called on every way out: containers and names that only this run knows.
end_images() {
  command -v docker >/dev/null || return 0
  local -a left
  mapfile -t left < <(ask_docker ps --all --quiet --filter "label=foxproflow-setup=$$")
  ((${#left[@]} == 0)) || timeout 30 docker rm --force --volumes "${left[@]}" >/dev/null 2>&1 || true
  remove_names "run$$"
}

# The lock is ours, so names of any run but this one belong to a run that was killed.
remove_stale() { remove_names; }

remove_names() {
  local -a names
  mapfile -t names < <(ask_docker image ls --format '{{.Repository}}:{{.Tag}}' --filter 'reference=foxproflow-setup/*' | grep "${1-}\$")
  ((${#names[@]} == 0)) || timeout 30 docker image rm "${names[@]}" >/dev/null 2>&1 || true
}
