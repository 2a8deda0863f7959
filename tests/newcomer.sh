#!/usr/bin/env bash
# What a new user meets: a fresh Debian 12 with git, make, curl and a Rust toolchain, an ordinary
# account with sudo, and the two commands of README.md. Says how long they took.
#
# newcomer.sh             as root: makes the system and goes through all of it
# newcomer.sh system      inside: what root does there
# newcomer.sh user PORTS  inside: what the user does there
set -euo pipefail

SUITE=bookworm
PACKAGES=sudo,git,make,curl,ca-certificates
USER_ID=1000

fail() {
  echo "newcomer: $*" >&2
  exit 1
}

# --- Outside ---------------------------------------------------------------------------------

outside() {
  local repository
  repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
  here="$(mktemp -d /var/tmp/newcomer-XXXXXX)"
  # Nothing is removed through a mount that is still there.
  trap 'grep -q "$here" /proc/self/mountinfo || rm -rf "$here" "$here.log"' EXIT
  # It becomes the root directory.
  chmod 755 "$here"
  local mirror
  mirror="$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 || true)"
  echo "A fresh $SUITE"
  debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$here" \
    "${mirror:-http://deb.debian.org/debian}" >"$here.log" 2>&1 ||
    fail "debootstrap: $(tail -n 3 "$here.log")"
  cp /etc/resolv.conf "$here/etc/resolv.conf"
  git clone --quiet --bare "$repository" "$here/srv/secure-sandbox-server.git"
  cp "${BASH_SOURCE[0]}" "$here/newcomer.sh"
  # Crates as this host has them: the network may be slow or away.
  local cargo="${CARGO_HOME:-$HOME/.cargo}" home="$here/home/new"
  mkdir -p "$home/.cargo/registry"
  for part in index cache; do
    [[ ! -d "$cargo/registry/$part" ]] || cp -r "$cargo/registry/$part" "$home/.cargo/registry/"
  done
  # What rustup would have installed is shown read-only.
  local toolchain
  toolchain="$(cd "$repository" && rustup show active-toolchain | cut -d ' ' -f 1)"
  mkdir -p "$home/.cargo/bin" "$home/.rustup/toolchains/$toolchain"
  cp -r "$here/etc/skel/." "$home"
  chown -R "$USER_ID:$USER_ID" "$home" "$here/srv/secure-sandbox-server.git"
  unshare --mount --pid --fork --kill-child bash "$here/newcomer.sh" enter "$here" \
    "$cargo/bin" "$home/.cargo/bin" \
    "$(cd "$repository" && rustc --print sysroot)" "$home/.rustup/toolchains/$toolchain"
  echo "test result: ok. 1 passed; 0 failed;"
}

# In namespaces of its own: leaves the host's tree; enter ROOT [FROM TO]...
enter() {
  local here="$1" tree
  cd "$here"
  mount --bind . .
  cd "$here"
  for tree in dev sys; do mount --rbind "/$tree" "$tree"; done
  mount -t tmpfs -o mode=755 run run
  shift
  while (($# > 0)); do
    mount --bind "$(readlink -f "$1")" "$2"
    mount -o remount,bind,ro "$2"
    shift 2
  done
  mkdir -p old
  pivot_root . old
  mount -t proc proc /proc
  umount --lazy /old
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /newcomer.sh system
}

# --- Inside, root ----------------------------------------------------------------------------

system() {
  cd /
  echo "127.0.0.1 localhost $(hostname)" >/etc/hosts
  useradd --uid "$USER_ID" --shell /bin/bash new
  echo 'new ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/new
  local ports=()
  for _ in http media metrics; do ports+=("$(free_port "${ports[@]}")"); done
  runuser --login new --command "/newcomer.sh user ${ports[*]}"
  nothing_is_left "${ports[@]}"
}

# free_port TAKEN...: one that nobody uses, for TCP or UDP.
free_port() {
  local port
  for port in $(shuf -i 20000-30000 -n 50); do
    [[ " $* " == *" $port "* ]] && continue
    grep -qis ":$(printf %04x "$port") " /proc/net/{tcp,tcp6,udp,udp6} || break
  done
  echo "$port"
}

nothing_is_left() {
  local left=() it node
  for it in /proc/[0-9]*/exe; do
    it="$(readlink "$it" || true)"
    [[ "$it" =~ sandbox-server|Xvfb|openbox|xterm ]] && left+=("process $it")
  done
  node="$(</var/lib/sandbox-server/node)"
  while read -r it; do left+=("cgroup $it"); done \
    < <(find /sys/fs/cgroup -type d -name "sandbox-$node")
  while read -r it; do left+=("file $it"); done < <(find /run/sandbox-server -mindepth 1)
  while read -r it; do left+=("mount $it"); done < <(grep sandbox-server /proc/self/mountinfo)
  for it in "$@"; do
    if grep -qis ":$(printf %04x "$it") .* 0A " /proc/net/{tcp,tcp6}; then
      left+=("port $it")
    fi
  done
  ((${#left[@]} == 0)) || fail "left after Ctrl-C: ${left[*]}"
  echo "Ctrl-C left nothing"
}

# --- Inside, user ----------------------------------------------------------------------------

user() {
  cd ~
  export PORT="$1" MEDIA_PORT="$2" METRICS_ADDR="127.0.0.1:$3"
  # The page's address follows the port, which is free here whatever else the host runs.
  export PUBLIC_URL="http://localhost:$PORT"
  SECONDS=0
  git clone --quiet /srv/secure-sandbox-server.git secure-sandbox-server
  cd secure-sandbox-server
  echo "git clone took $SECONDS s"
  first_run
  # The second run reuses all of it.
  first_run
}

# `make run` on a terminal, the link, a desktop, Ctrl-C.
first_run() {
  local screen=~/screen keyboard=~/keyboard terminal code token session
  rm -f "$keyboard"
  mkfifo "$keyboard"
  true >"$screen"
  SECONDS=0
  script --quiet --flush --return --command "make run" "$screen" <"$keyboard" >/dev/null &
  terminal=$!
  exec 3>"$keyboard"
  until code="$(grep -oP '#once=\K[A-Za-z0-9_-]+' "$screen")"; do
    kill -0 "$terminal" 2>/dev/null || fail "make run ended: $(tail -n 30 "$screen")"
    sleep 1
  done
  echo "make run took $SECONDS s to its link"

  token="$(ask POST /api/auth/once "{\"code\":\"$code\"}" | field access_token)"
  [[ -n "$token" ]] || fail "the link signs nobody in: $(tail -n 30 "$screen")"
  session="$(ask POST /api/sessions '{"profile":"desktop","width":1280,"height":720}' | field id)"
  [[ -n "$session" ]] || fail "no desktop: $(tail -n 30 "$screen")"
  until [[ "$(ask GET "/api/sessions/$session" | field state)" == ready ]]; do
    kill -0 "$terminal" 2>/dev/null || fail "the server ended: $(tail -n 30 "$screen")"
    sleep 0.1
  done
  echo "the link signs in, and a desktop is ready"

  # The key, not a signal: what it reaches is the terminal's business.
  printf '\003' >&3
  wait "$terminal" || true
  exec 3>&-
}

# ask METHOD PATH [BODY]: an answer of the API; TOKEN signs in.
ask() {
  curl -sS -X "$1" "$PUBLIC_URL$2" -H "Origin: $PUBLIC_URL" -H "Content-Type: application/json" \
    ${token:+-H "Authorization: Bearer $token"} ${3:+--data "$3"}
}

# field NAME: the value of the first text of this name in the JSON on standard input.
field() {
  grep -oP "\"$1\":\"\\K[^\"]+" | head -n 1 || true
}

case "${1:-}" in
  '') outside ;;
  enter) enter "${@:2}" ;;
  system) system ;;
  user) user "${@:2}" ;;
  *) fail "what is $1?" ;;
esac
