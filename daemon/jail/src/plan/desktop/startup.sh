#!/bin/sh
# Runs once the window manager is up. Programs go before the window manager when memory is short.
echo 300 > /proc/self/oom_score_adj
command -v xsetroot >/dev/null && xsetroot -solid '#2e4a62' -cursor_name left_ptr
command -v tint2 >/dev/null && tint2 -c /opt/desktop/panel &
/opt/desktop/terminal &
[ -r "$HOME/.config/openbox/autostart" ] && /bin/sh "$HOME/.config/openbox/autostart" &
