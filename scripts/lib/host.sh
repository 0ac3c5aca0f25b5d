# shellcheck shell=bash
# shellcheck disable=SC2034  # used by the scripts that source this one
# What this machine has and lacks, and how its package manager supplies it.

OS_ID='' OS_VERSION='' OS_NAME=''
APT_PACKAGES=()             # what apt-get has to install
BORROW=()                   # plugins to take from a newer Debian: compose, buildx
BLOCKERS=()                 # what only a person can supply
START_DAEMON=false

MIN_COMPOSE=2.20

read_os() {
  if [[ -r /etc/os-release ]]; then
    # Word by word, not sourced into our own variables.
    OS_ID=$(. /etc/os-release && printf '%s' "${ID-}")
    OS_VERSION=$(. /etc/os-release && printf '%s' "${VERSION_ID-}")
    OS_NAME=$(. /etc/os-release && printf '%s' "${PRETTY_NAME-}")
  else
    OS_NAME=$(uname -s)
  fi
}

# Debian testing and unstable have no number: they are newer than any that has one.
os_major() { printf '%s' "${OS_VERSION%%.*}" | grep -E '^[0-9]+$' || printf '999'; }

os_supported() {
  case $OS_ID in
    debian) (($(os_major) >= 12)) ;;
    ubuntu) (($(os_major) >= 22)) ;;
    *) return 1 ;;
  esac
}

# Each docker call has a deadline: a daemon that hangs must not hang the check.
ask_docker() {
  if command -v timeout >/dev/null; then timeout 10 docker "$@" 2>/dev/null
  else docker "$@" 2>/dev/null; fi
}

daemon_answers() { ask_docker version --format '{{.Server.Version}}' | grep -q .; }

engine_installed() { command -v dockerd >/dev/null || [[ -x /usr/sbin/dockerd || -x /usr/local/sbin/dockerd ]]; }

compose_good() {
  local version
  version=$(ask_docker compose version --short) || return 1
  version=${version#v}
  [[ $(printf '%s\n%s\n' "$MIN_COMPOSE" "${version%%[-+]*}" | sort -V | head -n 1) == "$MIN_COMPOSE" ]]
}

buildx_good() { ask_docker buildx version | grep -q .; }

# Fills APT_PACKAGES, BORROW, BLOCKERS and START_DAEMON.
look_at_host() {
  APT_PACKAGES=() BORROW=() BLOCKERS=() START_DAEMON=false
  command -v git >/dev/null || APT_PACKAGES+=(git)
  # The header package holds the start-up objects that every link needs.
  command -v cc >/dev/null || APT_PACKAGES+=(gcc libc6-dev)
  # What the tests and the benchmark call; Docker's own package needs none of them.
  command -v ip >/dev/null || APT_PACKAGES+=(iproute2)
  command -v ps >/dev/null || APT_PACKAGES+=(procps)
  command -v curl >/dev/null || APT_PACKAGES+=(curl)
  look_at_cargo
  look_at_docker
}

look_at_cargo() {
  ! command -v cargo >/dev/null || return 0
  if [[ -x $HOME/.cargo/bin/cargo ]]; then
    BLOCKERS+=("cargo is in ~/.cargo/bin, which is not on the PATH: run  . ~/.cargo/env  first")
  else
    BLOCKERS+=('cargo is missing: install Rust with rustup, as the Rust project describes; setup leaves the choice of toolchain to you')
  fi
}

look_at_docker() {
  local found=true
  command -v docker >/dev/null || found=false
  if ! $found || ! daemon_answers; then
    if [[ -n ${DOCKER_HOST-} ]]; then
      BLOCKERS+=("DOCKER_HOST is set to $DOCKER_HOST, where no Docker daemon answers: start it there, or unset DOCKER_HOST")
      return
    fi
    if ! $found || ! engine_installed; then
      APT_PACKAGES+=(docker.io)
      # From Debian 13 on the client is a package of its own, which docker.io only recommends.
      if [[ $OS_ID == debian ]] && (($(os_major) >= 13)) && ! $found; then APT_PACKAGES+=(docker-cli); fi
    elif socket_denied; then
      BLOCKERS+=("the Docker daemon runs, but $(id -un) may not use it: $(group_advice)")
      return
    fi
    START_DAEMON=true
  fi
  compose_good || need_plugin compose
  buildx_good || need_plugin buildx
}

group_advice() { printf 'run  sudo usermod -aG docker %s  , sign in again, then run scripts/setup again' "$(id -un)"; }

socket_denied() { [[ -S /var/run/docker.sock && ! -w /var/run/docker.sock ]]; }

need_plugin() {
  case $OS_ID/$1 in
    ubuntu/compose) APT_PACKAGES+=(docker-compose-v2) ;;
    ubuntu/buildx) APT_PACKAGES+=(docker-buildx) ;;
    *)
      # Debian 12 has Compose 1 under this package name, and no buildx at all.
      if (($(os_major) >= 13)); then APT_PACKAGES+=("docker-$1"); else BORROW+=("$1"); fi ;;
  esac
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"
}

# Stale lists name packages that mirrors no longer have. A list that cannot be read
# (some third party's) is no reason to stop: what is needed may be there all the same.
apt_refresh() { apt_get update || true; }

LISTS_FRESH=false

refresh_once() {
  if $LISTS_FRESH; then return; fi
  step "refreshing apt's package lists" apt_refresh
  LISTS_FRESH=true
}

apt_install() { apt_get install -y --no-install-recommends "$@"; }

# uri_of LABEL: where this system's own configuration finds that archive of its release;
# nothing if it has none. apt itself reads its files, whatever their style.
uri_of() {
  # shellcheck disable=SC2016  # apt's own placeholders
  apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -F'|' -v label="$1" '!found && $1 == label { print $2; found = 1 }'
}

start_daemon() {
  if [[ -d /run/systemd/system ]]; then
    as_root systemctl start docker || return 1
  else
    as_root service docker start || start_bare_daemon || return 1
  fi
  local tries
  for ((tries = 0; tries < 150; tries++)); do
    daemon_answers && return 0
    ! socket_denied || return 0     # it runs; who may use it is judged by the caller
    sleep 0.2
  done
  echo 'the daemon was started but does not answer after 30 s'
  return 1
}

# The service script raises limits first and gives up where that is not allowed, as in
# sandboxes and small virtual machines; the daemon itself runs there all the same.
start_bare_daemon() {
  local log=/var/log/docker.log
  echo "the service script failed: starting dockerd itself, which logs to $log"
  # In a session of its own: it outlives this script, also one that is interrupted.
  as_root sh -c "setsid dockerd >>$log 2>&1 </dev/null &"
}
