#!/usr/bin/env bash
# Runs inside a desktop and writes what it could reach, one `name value` a line.
set -uo pipefail
out="$HOME/findings"
say() { printf '%s %s\n' "$1" "$2" >>"$out.new"; }
: >"$out.new"

say uid "$(id -u)"
say home "$HOME"
say pids "$(find /proc -maxdepth 1 -name '[0-9]*' | wc -l)"
# shellcheck disable=SC2009 # pgrep is not everywhere
say xvfb "$(cat /proc/[0-9]*/comm 2>/dev/null | grep -c '^Xvfb$')"
commands="$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ')"
say worker "$(grep -c '[s]andbox-server desktop' <<<"$commands")"
say init_secrets "$(tr '\0' '\n' </proc/1/environ 2>/dev/null | grep -c '^STATE_DIR=')"

# The root itself cannot be listed, so the search starts below it.
roots=(/tmp /home /run /dev /var /etc /opt /mnt /media /srv /root /boot /sys /fb)

# Whatever could hold the framebuffer: a memfd behind a descriptor or a map, a large file.
say memfds "$(find /proc/[0-9]*/fd -lname '*memfd:*' 2>/dev/null | wc -l)"
say maps "$(cat /proc/[0-9]*/maps 2>/dev/null | grep -c 'memfd:')"
say shared "$(find "${roots[@]}" -type f -size +8000k 2>/dev/null | wc -l)"
say fbdir "$(find "${roots[@]}" -name 'Xvfb_screen*' 2>/dev/null | wc -l)"
head -c 9000000 /dev/zero >/tmp/large
say large_control "$(find "${roots[@]}" -type f -size +8000k 2>/dev/null | wc -l)"
rm /tmp/large

tried() { if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi; }
say positive_control "$(tried true)"
say userns "$(tried unshare -U true)"
say mount "$(tried mount -t tmpfs none /tmp)"
say chroot "$(tried chroot / true)"
say sudo "$(tried sudo -n true)"
say write_usr "$(tried touch /usr/probe)"
say write_etc "$(tried touch /etc/probe)"
say write_home "$(tried touch "$HOME/probe")"
say interfaces "$(tail -n +3 /proc/net/dev 2>/dev/null | cut -d: -f1 | tr -d ' ' | paste -sd, -)"
say connect "$(tried timeout 3 bash -c 'exec 3<>/dev/tcp/192.0.2.1/80')"
# By a look at each: a socket that is mounted on a file is a file to `find -type`.
say sockets "$(find "${roots[@]}" 2>/dev/null |
  while read -r file; do if [ -S "$file" ]; then echo "$file"; fi; done | paste -sd, -)"
say caps "$(grep CapEff /proc/self/status | cut -f2)"
say no_new_privs "$(grep NoNewPrivs /proc/self/status | cut -f2)"
say seccomp "$(grep '^Seccomp:' /proc/self/status | cut -f2)"
say display "$DISPLAY"
mv "$out.new" "$out"
