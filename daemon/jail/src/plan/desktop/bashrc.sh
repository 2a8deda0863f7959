# Read by each interactive shell of the desktop.
[ -n "$PS1" ] || return
PS1='\[\e[1;36m\]\w\[\e[0m\] \$ '
if [ -z "$DESKTOP_GREETED" ]; then
    export DESKTOP_GREETED=1
    cat /etc/motd
fi
sudo() { echo 'sudo: this desktop has no sudo (policy of this server)' >&2; return 1; }
command_not_found_handle() { echo "$1: not installed here" >&2; return 127; }
