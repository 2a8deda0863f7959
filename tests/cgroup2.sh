#!/usr/bin/env bash
# For the owner of a host with cgroup v2: runs the jails there and writes a report.
#
# Usage, as root, after `cargo build -p sandbox-daemon`: tests/cgroup2.sh [REPORT]
set -euo pipefail
cd "$(dirname "$0")/.."

report="${1:-cgroup2-report.txt}"
target="${CARGO_TARGET_DIR:-target}"
base=/var/lib/sandbox-server-cgroup2
port=18080
unit="sandbox-server-cgroup2-$$"

if [[ "$(id -u)" != 0 ]]; then
  echo "Jails are made by root: sudo -E $0" >&2
  exit 3
fi
exec > >(tee "$report") 2>&1

clean() {
  if [[ -n "${server:-}" ]]; then kill -TERM "$server" 2>/dev/null || true; fi
  if command -v systemctl >/dev/null; then systemctl stop "$unit" 2>/dev/null || true; fi
  rm -rf "$base"
}
trap clean EXIT

title() { printf '\n== %s\n' "$1"; }

title "host"
uname -a
grep ' - cgroup' /proc/self/mountinfo
cat /proc/self/cgroup
cat /sys/fs/cgroup/cgroup.controllers 2>/dev/null || echo "v2 is not mounted at /sys/fs/cgroup"

title "unit tests and jail tests, in this login's group"
status=0
cargo test -p sandbox-jail || status=$?
echo "jail tests: exit $status"

title "doctor"
install -D -m 755 "$target/debug/sandbox-server" "$base/sandbox-server"
settings=(
  "STATE_DIR=$base/state" "RUNTIME_DIR=$base/run" "PORT=$port" "MEDIA_PORT=13478"
  "METRICS_ADDR=127.0.0.1:19090" "PUBLIC_URL=http://localhost:$port"
  "SANDBOX_UID_BASE=1700000000" "RUST_LOG=info"
)
env "${settings[@]}" "$base/sandbox-server" doctor || echo "doctor: exit $?"

title "a server alone in its group: the warden moves into a leaf"
echo "correct horse battery" | env "${settings[@]}" "$base/sandbox-server" \
  user add owner --role admin --password-stdin
if [[ -d /run/systemd/system ]]; then
  systemd-run --quiet --unit="$unit" --collect -p Delegate=yes \
    "${settings[@]/#/--setenv=}" "$base/sandbox-server" serve
else
  echo "no systemd: the server shares this shell's group"
  env "${settings[@]}" "$base/sandbox-server" serve &
  server=$!
fi
url="http://localhost:$port"
curl --silent --show-error --retry 20 --retry-delay 1 --retry-connrefused "$url/ready"
echo

title "a session, its groups and limits"
ask() {
  curl --silent --show-error --header "Origin: $url" --header 'Content-Type: application/json' "$@"
}
token="$(ask --data '{"username":"owner","password":"correct horse battery"}' \
  "$url/api/auth/login" | sed -E 's/.*"access_token":"([^"]+)".*/\1/')"
session="$(ask --header "Authorization: Bearer $token" \
  --data '{"profile":"desktop","width":1280,"height":720}' "$url/api/sessions")"
echo "$session"
id="$(sed -E 's/.*"id":"([^"]+)".*/\1/' <<<"$session")"
sleep 3
while read -r group; do
  echo "$group"
  for file in cgroup.procs cgroup.subtree_control memory.max memory.swap.max pids.max cpu.max \
    cpu.weight memory.current memory.events cpu.stat; do
    if [[ -e "$group/$file" ]]; then
      printf '  %-24s %s\n' "$file" "$(tr '\n' ' ' <"$group/$file")"
    fi
  done
done < <(find /sys/fs/cgroup -type d -path "*sandbox-*$id*" | sort)
ask --header "Authorization: Bearer $token" "$url/api/sessions/$id/stats"
echo

title "after the end: nothing is left"
ask --header "Authorization: Bearer $token" --request DELETE "$url/api/sessions/$id"
if [[ -n "${server:-}" ]]; then
  kill -TERM "$server" && wait "$server" || true
  server=
else
  systemctl stop "$unit"
  journalctl --unit="$unit" --no-pager | tail -50
fi
left="$(find /sys/fs/cgroup -type d -path "*sandbox-$(cat "$base/state/node")*")"
echo "${left:-no group is left}"

title "the report is in $report; jail tests ended with $status"
exit "$status"
