# shellcheck shell=bash
# shellcheck disable=SC2034  # used by the scripts that source this one
# Talk, log, long-running steps and their clean-up; what is set up is the others' business.

LOG='' WORK=''              # log file and scratch directory of this run, made by begin_work
GROUPS_RUNNING=()           # process groups to end when this run is interrupted

if [[ -t 2 && -z ${NO_COLOR-} && ${TERM-dumb} != dumb ]]; then
  C_BOLD=$'\e[1m' C_RED=$'\e[31m' C_GREEN=$'\e[32m' C_OFF=$'\e[0m'
else
  C_BOLD='' C_RED='' C_GREEN='' C_OFF=''
fi

# Everything for people goes to stderr: stdout stays free for callers.
say() { printf '%s\n' "$*" >&2; }

# joined WORD...: a, b, c
joined() { local IFS=,; local text="$*"; printf '%s' "${text//,/, }"; }

# Ends the run: what failed and why, then what to do about it, a line each.
fail() {
  say "${C_RED}setup:${C_OFF} $1"
  shift
  local line
  for line in "$@"; do say "  $line"; done
  exit 1
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

# Asks for the password once, in the foreground: steps run in process groups of their
# own, where sudo could not read it from the terminal.
become_able() {
  ((EUID != 0)) || return 0
  command -v sudo >/dev/null || fail 'this needs root, and sudo is not installed' 'run scripts/setup as root'
  sudo -v || fail 'this needs root, and sudo refused' 'run scripts/setup as root'
}

begin_work() {
  # Not /tmp: it is often mounted nodev or kept in memory, and a root file system is made here.
  WORK=$(mktemp -d "${SETUP_TMPDIR:-/var/tmp}/foxproflow-setup.XXXXXX")
  # apt fetches as a user of its own, who has to reach the directories below.
  chmod 755 "$WORK"
  LOG=$(mktemp "${TMPDIR:-/tmp}/foxproflow-setup-log.XXXXXX")
  trap end_work EXIT
  trap 'leave 130' INT
  trap 'leave 143' TERM HUP
}

# Once: a closed terminal sends two signals at once, and the second must not end the
# clean-up that the first began.
LEAVING=false

leave() {
  if $LEAVING; then return; fi
  LEAVING=true
  exit "$1"
}

end_work() {
  local code=$?
  LEAVING=true
  # A second Ctrl-C reaches the commands of the clean-up as well: they ignore it.
  (trap '' INT TERM HUP; clean_up "$code") || true
  exit "$code"
}

clean_up() {
  local code=$1 group
  set +e              # each part is tried, whatever became of the others
  for group in "${GROUPS_RUNNING[@]}"; do end_group "$group"; done
  end_plugins
  end_images
  as_root rm -rf --one-file-system "$WORK"
  case $code in
    0) rm -f "$LOG" ;;
    130 | 143) rm -f "$LOG"; say 'setup: interrupted; nothing half-made was left behind. Run it again to go on.' ;;
    *) say "  whole log: $LOG" ;;
  esac
}

# Asks first; whoever does not listen within two seconds is killed.
end_group() {
  local group=$1 tries
  as_root kill -TERM -- "-$group" 2>/dev/null || return 0
  for ((tries = 0; tries < 20; tries++)); do
    as_root kill -0 -- "-$group" 2>/dev/null || return 0
    sleep 0.1
  done
  as_root kill -KILL -- "-$group" 2>/dev/null || true
}

# start COMMAND...: runs it in its own process group, logged; the group is in $REPLY.
# A group, because killing only the first process would leave dpkg or a chroot running.
start() {
  set -m
  # Without the lock: a daemon started here would hold it for good.
  "$@" >>"$LOG" 2>&1 </dev/null 9>&- &
  REPLY=$!
  set +m
  GROUPS_RUNNING+=("$REPLY")
}

# finish GROUP: its exit code.
finish() {
  local group=$1 code=0 other
  local -a left=()
  wait "$group" || code=$?
  for other in "${GROUPS_RUNNING[@]}"; do
    [[ $other == "$group" ]] || left+=("$other")
  done
  GROUPS_RUNNING=("${left[@]}")
  return "$code"
}

# now: seconds with tenths, as an integer of tenths.
now() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "${t%?????}"; }
since() { local d=$(($(now) - $1)); printf '%d.%d s' $((d / 10)) $((d % 10)); }

step_begin() { printf '  %s ... ' "$1" >&2; printf '\n### %s\n' "$1" >>"$LOG"; }
step_ok() { say "${C_GREEN}$1${C_OFF}"; }

# step TEXT COMMAND...: one line on the screen, all output in the log; ends the run on failure.
step() {
  local text=$1 began
  shift
  began=$(now)
  step_begin "$text"
  start "$@"
  if finish "$REPLY"; then
    step_ok "$(since "$began")"
  else
    say "${C_RED}failed${C_OFF}"
    show_tail "$LOG"
    fail "could not finish: $text"
  fi
}

show_tail() {
  say '  the last lines of its output:'
  tail -n 15 "$1" | sed 's/^/    | /' >&2
}
