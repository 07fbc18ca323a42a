#!/usr/bin/env bash
# A container engine of one's own for the end-to-end tests:
#
#   dockerd.sh COMMAND [ARG…]   run the command with DOCKER_HOST set to a new
#                               engine, which ends with it
#   dockerd.sh start DIR        start one that keeps everything in DIR, which is
#                               new or empty; prints its DOCKER_HOST
#   dockerd.sh stop DIR         stop that one and remove DIR
#
# It needs root. Where apt is there, what is missing of Debian's docker.io,
# skopeo and umoci is installed. The engine has no bridge and touches no
# firewall: containers run with --network host or none. Its log is shown when
# it does not start.
set -euo pipefail

fail() { printf 'dockerd.sh: %s\n' "$*" >&2; exit 1; }

# need installs the packages whose programs are missing.
need() {
  local missing=() pair
  for pair in dockerd:docker.io docker:docker.io skopeo:skopeo umoci:umoci; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  if ((${#missing[@]})) && command -v apt-get >/dev/null; then
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get install -qy --no-install-recommends "${missing[@]}"; } >&2 ||
      printf 'dockerd.sh: apt-get could not install %s\n' "${missing[*]}" >&2
  fi
  local program
  for program in dockerd docker; do
    command -v "$program" >/dev/null || fail "$program is not installed, and apt did not bring it"
  done
}

start() { # DIR
  local dir=$1
  [[ $(id -u) == 0 ]] || fail "the engine needs root"
  need
  [[ ${#dir} -lt 60 ]] || fail "$dir: too long for the names of sockets"
  mkdir -p "$dir"
  # stop removes it all.
  [[ -z $(ls -A "$dir") ]] || fail "$dir: not empty"
  # A session of its own: Ctrl-C is for the tests, which end before the engine.
  setsid dockerd --iptables=false --ip6tables=false --bridge=none \
    --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
    --host "unix://$dir/docker.sock" >"$dir/log" 2>&1 </dev/null &
  local pid=$! i
  printf '%s\n' "$pid" >"$dir/started"
  for ((i = 0; i < 300; i++)); do
    if DOCKER_HOST="unix://$dir/docker.sock" docker version >/dev/null 2>&1; then
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$dir/log" >&2
  stop "$dir"
  fail "the engine did not start; the end of its log is above"
}

stop() { # DIR
  local dir=$1 pid i left
  [[ -f $dir/started ]] || return 0
  pid=$(<"$dir/started")
  if kill -0 "$pid" 2>/dev/null; then
    left=$(DOCKER_HOST="unix://$dir/docker.sock" timeout 20 docker ps -aq 2>/dev/null) || left=
    [[ -z $left ]] || DOCKER_HOST="unix://$dir/docker.sock" timeout 60 docker rm -f $left >/dev/null 2>&1 || :
    kill -TERM "$pid" 2>/dev/null || :
    for ((i = 0; i < 150; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.2
    done
    kill -KILL "$pid" 2>/dev/null || :
  fi
  # What a killed engine leaves mounted; the deepest first.
  awk -v d="$dir/" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r |
    while IFS= read -r i; do umount -l "$i" 2>/dev/null || :; done
  rm -rf --one-file-system "$dir"
}

run() { # COMMAND [ARG…]
  dir=$(mktemp -d "${TMPDIR:-/tmp}/cairn-e2e.XXXXXX")
  child=
  trap 'stop "$dir"' EXIT
  trap 'interrupted 130' INT
  trap 'interrupted 143' TERM
  trap 'interrupted 129' HUP
  start "$dir"
  # A process group of its own, so that all of it can be told to end.
  set -m
  DOCKER_HOST="unix://$dir/docker.sock" "$@" &
  child=$!
  set +m
  local code=0
  wait "$child" || code=$?
  exit "$code"
}

interrupted() { # CODE
  trap '' INT TERM HUP
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null || :
    wait "$child" 2>/dev/null || :
  fi
  exit "$1"
}

case ${1-} in
  "") fail "usage: dockerd.sh COMMAND [ARG…] | start DIR | stop DIR" ;;
  start) start "${2:?dockerd.sh: start: name a directory}" && printf 'unix://%s/docker.sock\n' "$2" ;;
  stop) stop "${2:?dockerd.sh: stop: name a directory}" ;;
  *) run "$@" ;;
esac
