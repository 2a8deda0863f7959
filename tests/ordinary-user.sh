#!/usr/bin/env bash
# Runs a command as an ordinary user whom nobody else on this host knows; for root.
#
#   ordinary-user.sh UID HOME FIRST COUNT GROUP COMMAND...
#
# COUNT uids and gids from FIRST on are delegated to the user (0: none). GROUP names a cgroup that
# is made for the user in every tree and entered (empty: none); whoever calls this removes it.
set -euo pipefail

if [[ "$1" != within ]]; then
  exec unshare --mount "$0" within "$@"
fi
shift
uid="$1" home="$2" first="$3" count="$4" group="$5"
shift 5

# The account files as this command alone sees them.
mount -t tmpfs -o mode=755 none /mnt
sed "/^[^:]*:[^:]*:$uid:/d" /etc/passwd >/mnt/passwd
echo "ordinary:x:$uid:$uid::$home:/bin/sh" >>/mnt/passwd
echo "ordinary:x:$uid:" | cat /etc/group - >/mnt/group
: >/mnt/subuid
[[ "$count" == 0 ]] || echo "ordinary:$first:$count" >/mnt/subuid
cp /mnt/subuid /mnt/subgid
for name in passwd group subuid subgid; do
  touch "/etc/$name"
  mount --bind "/mnt/$name" "/etc/$name"
done
umount --lazy /mnt

# lend DIRECTORY: gives the user a group to make others in, and enters it.
lend() {
  mkdir -p "$1"
  chown "$uid:$uid" "$1" "$1/cgroup.procs"
  [[ ! -e "$1/cgroup.subtree_control" ]] || chown "$uid:$uid" "$1/cgroup.subtree_control"
  echo $$ >"$1/cgroup.procs"
}

if [[ -n "$group" ]]; then
  # At once, for the kernel writes it anew after each move.
  groups="$(cat /proc/self/cgroup)"
  while IFS=: read -r _ controllers path; do
    case "$controllers" in
      '')
        top=/sys/fs/cgroup
        if [[ -e "$top/cgroup.controllers" ]]; then
          # Where groups with processes give no limits, there is room at the top.
          echo '+memory +pids +cpu' >"$top/cgroup.subtree_control"
          lend "$top/$group"
        elif [[ -e "$top/unified/cgroup.procs" ]]; then
          lend "$top/unified${path%/}/$group"
        fi
        ;;
      memory | pids | cpu | cpuacct | cpu,cpuacct)
        lend "/sys/fs/cgroup/$controllers${path%/}/$group"
        ;;
    esac
  done <<<"$groups"
fi

exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
